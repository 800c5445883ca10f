import {
  type BucketId,
  type ByteReader,
  type ByteWriter,
  type Checkpoint,
  hexFromBytes,
  type LookupId,
  type Lsn,
  lsnFromBigint,
  MalformedBytesError,
  parseEpoch,
  parseHex,
  parseProjectId,
  parseStreamNo,
  SEQ_BARRIER,
  type StreamNo,
} from '@sluice/domain';
import { unreachable } from '@sluice/errors';
import type { WakeUp } from '../port.ts';

/** Another version is not understood and dropped: wake-ups are hints. */
const WAKE_UP_VERSION = 3;
const ID_BYTES = 16;
/** `schema.table`, two names of NAMEDATALEN with room to spare. Bytes. */
const TABLE_BYTES_MAX = 2_049;

const kinds = ['checkpoint', 'applied', 'gap', 'snapshot-part', 'streams', 'project', 'changed'] as const;
const outcomes = ['applied', 'refused'] as const;

/** A wake-up as bytes: u8 version, u8 kind, then varints, little-endian u64s, and ids of 16 bytes. */
export function writeWakeUp(out: ByteWriter, wakeUp: WakeUp): void {
  out.u8(WAKE_UP_VERSION);
  out.u8(kinds.indexOf(wakeUp.kind));
  out.varint(wakeUp.project);
  switch (wakeUp.kind) {
    case 'checkpoint':
      writeCheckpoint(out, wakeUp);
      return;
    case 'changed':
      writeChanged(out, wakeUp);
      return;
    case 'applied':
      out.varint(wakeUp.epoch);
      out.varint(wakeUp.shard);
      out.u64(wakeUp.position.lsn);
      out.varint(wakeUp.position.seq);
      return;
    case 'gap':
      out.varint(wakeUp.epoch);
      out.varint(wakeUp.shard);
      return;
    case 'snapshot-part':
      writeNumbers(out, wakeUp.streams);
      out.text(wakeUp.table);
      out.varint(wakeUp.part);
      out.u8(outcomes.indexOf(wakeUp.outcome));
      return;
    case 'streams':
    case 'project':
      return;
    default:
      unreachable(wakeUp);
  }
}

/** Reads what writeWakeUp wrote, to the end. @throws MalformedBytesError */
export function readWakeUp(reader: ByteReader): WakeUp {
  if (reader.u8() !== WAKE_UP_VERSION) throw new MalformedBytesError('unknown wake-up version');
  const kind = kinds[reader.u8()];
  const wakeUp = readKind(kind, reader);
  reader.finish();
  return wakeUp;
}

function readKind(kind: WakeUp['kind'] | undefined, reader: ByteReader): WakeUp {
  const project = inRange(parseProjectId, reader.varint());
  switch (kind) {
    case 'checkpoint':
      return { kind, project, ...readCheckpoint(reader) };
    case 'changed':
      return { kind, project, ...readChanged(reader) };
    case 'applied': {
      const [epoch, shard] = [inRange(parseEpoch, reader.varint()), reader.varint()];
      const [lsn, seq] = [readLsn(reader), reader.varint()];
      if (seq > SEQ_BARRIER) throw new MalformedBytesError('position out of range');
      return { kind, project, epoch, shard, position: { lsn, seq } };
    }
    case 'gap':
      return { kind, project, epoch: inRange(parseEpoch, reader.varint()), shard: reader.varint() };
    case 'snapshot-part': {
      const streams = readNumbers(reader);
      const [table, part, outcome] = [reader.text(TABLE_BYTES_MAX), reader.varint(), outcomes[reader.u8()]];
      if (!outcome) throw new MalformedBytesError('unknown outcome');
      return { kind, project, streams, table, part, outcome };
    }
    case 'streams':
    case 'project':
      return { kind, project };
    default:
      throw new MalformedBytesError('unknown kind of wake-up');
  }
}

type CheckpointNews = Extract<WakeUp, { kind: 'checkpoint' }>;

function writeCheckpoint(
  out: ByteWriter,
  { checkpoint, previousLsn, shards, inUse, buckets, lookups, truncated }: CheckpointNews,
): void {
  out.varint(checkpoint.epoch);
  out.u64(checkpoint.lsn);
  out.varint(checkpoint.committedAtMs);
  out.u64(previousLsn);
  out.varint(shards);
  // A project without streams has no checkpoint.
  writeNumbers(out, inUse ?? []);
  writeNames(out, { buckets, lookups, truncated });
}
function readCheckpoint(reader: ByteReader): Omit<CheckpointNews, 'kind' | 'project'> {
  const checkpoint: Checkpoint = {
    epoch: inRange(parseEpoch, reader.varint()),
    lsn: readLsn(reader),
    committedAtMs: reader.varint(),
  };
  const [previousLsn, shards, inUse] = [readLsn(reader), reader.varint(), readNumbers(reader)];
  return { checkpoint, previousLsn, shards, inUse: inUse.length > 0 ? inUse : undefined, ...readNames(reader) };
}

type ChangedNews = Extract<WakeUp, { kind: 'changed' }>;

function writeChanged(out: ByteWriter, { epoch, shard, after, through, ...names }: ChangedNews): void {
  out.varint(epoch);
  out.varint(shard);
  out.u64(after);
  out.u64(through);
  writeNames(out, names);
}
function readChanged(reader: ByteReader): Omit<ChangedNews, 'kind' | 'project'> {
  const [epoch, shard] = [inRange(parseEpoch, reader.varint()), reader.varint()];
  return { epoch, shard, after: readLsn(reader), through: readLsn(reader), ...readNames(reader) };
}

type Names = Pick<ChangedNews, 'buckets' | 'lookups' | 'truncated'>;

function writeNames(out: ByteWriter, { buckets, lookups, truncated }: Names): void {
  writeIds(out, buckets);
  writeIds(out, lookups);
  writeNumbers(out, truncated);
}
function readNames(reader: ByteReader): Names {
  return {
    buckets: readIds(reader) as BucketId[], // Any 16 bytes are an id.
    lookups: readIds(reader) as LookupId[],
    truncated: readNumbers(reader),
  };
}

function writeIds(out: ByteWriter, ids: readonly string[]): void {
  out.varint(ids.length);
  for (const id of ids) out.raw(parseHex(id));
}
function readIds(reader: ByteReader): string[] {
  const count = reader.varint();
  if (count * ID_BYTES > reader.remaining) throw new MalformedBytesError('impossible count of ids');
  return Array.from({ length: count }, () => hexFromBytes(reader.raw(ID_BYTES)));
}
function writeNumbers(out: ByteWriter, numbers: readonly number[]): void {
  out.varint(numbers.length);
  for (const number of numbers) out.varint(number);
}
function readNumbers(reader: ByteReader): StreamNo[] {
  const count = reader.varint();
  if (count > reader.remaining) throw new MalformedBytesError('impossible count of streams');
  return Array.from({ length: count }, () => inRange(parseStreamNo, reader.varint()));
}
function readLsn(reader: ByteReader): Lsn {
  return inRange(lsnFromBigint, reader.u64());
}

function inRange<Raw, T>(parse: (value: Raw) => T, value: Raw): T {
  try {
    return parse(value);
  } catch (error) {
    if (error instanceof RangeError) throw new MalformedBytesError('number out of range');
    throw error;
  }
}

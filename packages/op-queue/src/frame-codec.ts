import {
  ByteReader,
  ByteWriter,
  type LeaseToken,
  type Lsn,
  lsnFromBigint,
  MalformedBytesError,
  type Position,
  parseEpoch,
  parseProjectId,
  parseStreamNo,
  SEQ_BARRIER,
} from '@sluice/domain';
import { FRAME_VERSION, type Frame, type SnapshotFrame, type StreamFrame } from './frame.ts';

const KIND_STREAM = 1;
const KIND_SNAPSHOT = 2;
const FLAG_LAST = 1;
/** No source has longer names (NAMEDATALEN is 64 bytes); a build with longer ones still fits. Bytes. */
const NAME_BYTES_MAX = 1024;

/**
 * A frame as bytes, for queues between processes. Version 1: u8 version, u8 kind, varints and little-endian u64s in the
 * order below, and `changes` to the end. A change of this form raises FRAME_VERSION.
 */
export function encodeFrame(frame: Frame): Uint8Array<ArrayBuffer> {
  const out = new ByteWriter(128 + frame.changes.length);
  out.u8(FRAME_VERSION);
  out.u8(frame.kind === 'stream' ? KIND_STREAM : KIND_SNAPSHOT);
  out.varint(frame.project);
  out.varint(frame.epoch);
  out.varint(frame.shard);
  out.u64(frame.leaseToken);
  if (frame.kind === 'stream') writeStreamHead(out, frame);
  else writeSnapshotHead(out, frame);
  out.raw(frame.changes);
  // No copy: nobody else has the writer.
  return out.written();
}

function writeStreamHead(out: ByteWriter, frame: StreamFrame): void {
  out.varint(frame.mapVersion);
  writePosition(out, frame.prev);
  writePosition(out, frame.end);
  out.u64(frame.endLsn);
  out.varint(frame.committedAtMs);
}
function writeSnapshotHead(out: ByteWriter, frame: SnapshotFrame): void {
  out.varint(frame.streams.length);
  for (const stream of frame.streams) out.varint(stream);
  out.u64(frame.pointLsn);
  out.text(frame.schema);
  out.text(frame.table);
  out.varint(frame.part);
  out.u8(frame.last ? FLAG_LAST : 0);
}
function writePosition(out: ByteWriter, position: Position): void {
  out.u64(position.lsn);
  out.varint(position.seq);
}

/**
 * Reads what encodeFrame wrote; `changes` is a view of the input.
 * @throws MalformedBytesError for anything else, another version included: the frame is then streamed again.
 */
export function decodeFrame(bytes: Uint8Array): Frame {
  const reader = new ByteReader(bytes);
  if (reader.u8() !== FRAME_VERSION) throw new MalformedBytesError('unknown frame version');
  const kind = reader.u8();
  const head = {
    project: inRange(() => parseProjectId(reader.varint())),
    epoch: inRange(() => parseEpoch(reader.varint())),
    shard: reader.varint(),
    leaseToken: inRange(() => lsnFromBigint(reader.u64())) as bigint as LeaseToken,
  };
  if (kind === KIND_STREAM) return { kind: 'stream', ...head, ...readStreamHead(reader), changes: rest(reader) };
  if (kind === KIND_SNAPSHOT) return { kind: 'snapshot', ...head, ...readSnapshotHead(reader), changes: rest(reader) };
  throw new MalformedBytesError('unknown frame kind');
}

function readStreamHead(reader: ByteReader): Omit<StreamFrame, 'kind' | 'changes' | keyof FrameHead> {
  return {
    mapVersion: reader.varint(),
    prev: readPosition(reader),
    end: readPosition(reader),
    endLsn: readLsn(reader),
    committedAtMs: reader.varint(),
  };
}
type FrameHead = Pick<StreamFrame, 'project' | 'epoch' | 'shard' | 'leaseToken'>;

function readSnapshotHead(reader: ByteReader): Omit<SnapshotFrame, 'kind' | 'changes' | keyof FrameHead> {
  const count = reader.varint();
  // Each takes a byte at least, so a count costs its sender as much as it costs us.
  if (count > reader.remaining) throw new MalformedBytesError('impossible stream count');
  const streams = Array.from({ length: count }, () => inRange(() => parseStreamNo(reader.varint())));
  const pointLsn = readLsn(reader);
  const schema = reader.text(NAME_BYTES_MAX);
  const table = reader.text(NAME_BYTES_MAX);
  const part = reader.varint();
  const flags = reader.u8();
  if (flags > FLAG_LAST) throw new MalformedBytesError('unknown flags');
  return { streams, pointLsn, schema, table, part, last: flags === FLAG_LAST };
}

function readLsn(reader: ByteReader): Lsn {
  return inRange(() => lsnFromBigint(reader.u64()));
}
function readPosition(reader: ByteReader): Position {
  const lsn = readLsn(reader);
  const seq = reader.varint();
  if (seq > SEQ_BARRIER) throw new MalformedBytesError('position out of range');
  return { lsn, seq };
}
function rest(reader: ByteReader): Uint8Array {
  return reader.raw(reader.remaining);
}

function inRange<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (error instanceof RangeError) throw new MalformedBytesError('number out of range');
    throw error;
  }
}

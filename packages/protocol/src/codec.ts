import {
  type BucketId,
  ByteReader,
  ByteWriter,
  type Epoch,
  hexFromBytes,
  type Lsn,
  lsnFromBigint,
  MalformedBytesError,
  parseEpoch,
  parseHex,
  parseStreamNo,
} from '@sluice/domain';
import { type ChunkCodec, CODEC_DEFLATE_RAW, CODEC_STORED } from './chunk.ts';
import type {
  BucketAnnouncement,
  BucketSum,
  ClientMessage,
  ColumnSchema,
  ServerMessage,
  StreamSchema,
  TableSchema,
} from './messages.ts';
import { LIMITS } from './messages.ts';

/** First byte of each message. Client messages stand below 64, server messages from 64 on. */
const TAG = {
  hello: 1,
  token: 2,
  applied: 3,
  ping: 4,
  upload: 5,
  welcome: 64,
  schema: 65,
  checkpoint: 66,
  chunk: 67,
  'checkpoint-end': 68,
  error: 69,
  pong: 70,
  'token-expiring': 71,
  source: 72,
  writes: 73,
  'upload-result': 74,
} as const;
const SQLITE_TYPES = ['INTEGER', 'TEXT', 'BLOB', 'ANY'] as const;
const SOURCE_STATES = ['live', 'loading', 'stalled', 'stopped'] as const;
const WRITES_STATES = ['enabled', 'read-only', 'unavailable'] as const;
const UPLOAD_RESULTS = ['recorded', 'retry', 'gap'] as const;
const NAME_BYTES_MAX = 1024;

export function encodeClientMessage(message: ClientMessage): Uint8Array<ArrayBuffer> {
  const out = new ByteWriter(512);
  out.u8(TAG[message.type]);
  switch (message.type) {
    case 'hello':
      out.varint(message.version);
      out.text(message.project);
      out.text(message.token);
      out.text(message.clientId);
      out.text(message.sdk);
      out.u8(message.resume ? 1 : 0);
      if (message.resume) {
        out.varint(message.resume.epoch);
        out.u64(message.resume.lsn);
        writeBucketIds(out, message.resume.buckets);
      }
      break;
    case 'token':
      out.text(message.token);
      break;
    case 'applied':
      out.varint(message.epoch);
      out.u64(message.lsn);
      break;
    case 'ping':
      out.u32(message.nonce);
      break;
    case 'upload':
      out.varint(message.seq);
      out.varint(message.refusalsKept);
      out.blob(message.mutations);
      break;
  }
  return out.take();
}

/** @throws MalformedBytesError for anything that is not exactly one well-formed message of this version. */
export function decodeClientMessage(bytes: Uint8Array): ClientMessage {
  const input = new ByteReader(bytes);
  const message = readClientMessage(input);
  input.finish();
  return message;
}

function readClientMessage(input: ByteReader): ClientMessage {
  switch (input.u8()) {
    case TAG.hello: {
      const version = input.varint();
      const project = input.text(NAME_BYTES_MAX);
      const token = input.text(LIMITS.clientMessageBytesMax);
      const clientId = input.text(NAME_BYTES_MAX);
      const sdk = input.text(NAME_BYTES_MAX);
      const hasResume = readFlag(input);
      const resume = hasResume
        ? { epoch: readEpoch(input), lsn: readLsn(input), buckets: readBucketIds(input) }
        : undefined;
      return { type: 'hello', version, project, token, clientId, sdk, resume };
    }
    case TAG.token:
      return { type: 'token', token: input.text(LIMITS.clientMessageBytesMax) };
    case TAG.applied:
      return { type: 'applied', epoch: readEpoch(input), lsn: readLsn(input) };
    case TAG.ping:
      return { type: 'ping', nonce: input.u32() };
    case TAG.upload:
      return {
        type: 'upload',
        seq: readSeq(input),
        refusalsKept: input.varint(),
        mutations: input.blob(LIMITS.uploadBytesMax),
      };
    default:
      throw new MalformedBytesError('unknown client message');
  }
}

export function encodeServerMessage(message: ServerMessage): Uint8Array<ArrayBuffer> {
  const out = new ByteWriter(message.type === 'chunk' ? message.payload.length + 32 : 256);
  out.u8(TAG[message.type]);
  switch (message.type) {
    case 'welcome':
      out.varint(message.version);
      out.text(message.session);
      out.varint(message.pingIntervalMs);
      break;
    case 'schema':
      writeSchema(out, message);
      break;
    case 'checkpoint':
      out.varint(message.epoch);
      out.u64(message.lsn);
      out.f64(message.committedAtMs);
      out.u8(message.reset ? 1 : 0);
      writeBucketIds(out, message.drop);
      writeAnnouncements(out, message.replace);
      writeAnnouncements(out, message.extend);
      out.varint(message.totalOps);
      out.varint(message.totalBytes);
      break;
    case 'chunk':
      out.varint(message.no);
      out.u8(message.codec);
      out.varint(message.ops);
      out.varint(message.payloadBytes);
      out.blob(message.payload);
      break;
    case 'checkpoint-end':
      out.varint(message.epoch);
      out.u64(message.lsn);
      out.varint(message.sums.length);
      for (const sum of message.sums) {
        out.varint(sum.no);
        out.u64(sum.checksum);
        out.varint(sum.rows);
      }
      break;
    case 'error':
      out.text(message.code);
      out.text(message.message);
      out.text(message.remedy);
      out.u8(message.fatal ? 1 : 0);
      break;
    case 'pong':
      out.u32(message.nonce);
      break;
    case 'token-expiring':
      out.varint(message.inMs);
      break;
    case 'source':
      out.u8(SOURCE_STATES.indexOf(message.state));
      out.text(message.code);
      out.varint(message.rowsDone);
      out.varint(message.rowsEstimate);
      break;
    case 'writes':
      out.u8(WRITES_STATES.indexOf(message.state));
      out.text(message.code);
      break;
    case 'upload-result':
      out.varint(message.seq);
      out.u8(UPLOAD_RESULTS.indexOf(message.result));
      out.text(message.code);
      out.varint(message.expected);
      break;
  }
  // A chunk's writer has the right size already, and a chunk may be megabytes.
  return message.type === 'chunk' ? out.written() : out.take();
}

/** Chunk payloads are views of the input. @throws MalformedBytesError as decodeClientMessage does. */
export function decodeServerMessage(bytes: Uint8Array): ServerMessage {
  const input = new ByteReader(bytes);
  const message = readServerMessage(input);
  input.finish();
  return message;
}

function readServerMessage(input: ByteReader): ServerMessage {
  switch (input.u8()) {
    case TAG.welcome:
      return {
        type: 'welcome',
        version: input.varint(),
        session: input.text(NAME_BYTES_MAX),
        pingIntervalMs: input.varint(),
      };
    case TAG.schema:
      return readSchema(input);
    case TAG.checkpoint:
      return {
        type: 'checkpoint',
        epoch: readEpoch(input),
        lsn: readLsn(input),
        committedAtMs: input.f64(),
        reset: readFlag(input),
        drop: readBucketIds(input),
        replace: readAnnouncements(input),
        extend: readAnnouncements(input),
        totalOps: input.varint(),
        totalBytes: input.varint(),
      };
    case TAG.chunk: {
      const no = input.varint();
      const codec = readCodec(input);
      return { type: 'chunk', no, codec, ops: input.varint(), payloadBytes: input.varint(), payload: input.blob() };
    }
    case TAG['checkpoint-end']: {
      const epoch = readEpoch(input);
      const lsn = readLsn(input);
      const sums: BucketSum[] = readMany(input, 10, () => ({
        no: input.varint(),
        checksum: input.u64(),
        rows: input.varint(),
      }));
      return { type: 'checkpoint-end', epoch, lsn, sums };
    }
    case TAG.error:
      return {
        type: 'error',
        code: input.text(),
        message: input.text(),
        remedy: input.text(),
        fatal: readFlag(input),
      };
    case TAG.pong:
      return { type: 'pong', nonce: input.u32() };
    case TAG['token-expiring']:
      return { type: 'token-expiring', inMs: input.varint() };
    case TAG.source:
      return {
        type: 'source',
        state: pick(SOURCE_STATES, input.u8()),
        code: input.text(),
        rowsDone: input.varint(),
        rowsEstimate: input.varint(),
      };
    case TAG.writes:
      return { type: 'writes', state: pick(WRITES_STATES, input.u8()), code: input.text() };
    case TAG['upload-result']:
      return {
        type: 'upload-result',
        seq: readSeq(input),
        result: pick(UPLOAD_RESULTS, input.u8()),
        code: input.text(),
        expected: input.varint(),
      };
    default:
      throw new MalformedBytesError('unknown server message');
  }
}

function writeSchema(
  out: ByteWriter,
  schema: { tables: readonly TableSchema[]; streams: readonly StreamSchema[] },
): void {
  out.varint(schema.tables.length);
  for (const table of schema.tables) {
    out.text(table.name);
    out.varint(table.keyColumns);
    out.varint(table.columns.length);
    for (const column of table.columns) {
      out.text(column.name);
      out.u8(SQLITE_TYPES.indexOf(column.sqliteType));
      out.text(column.pgType);
    }
  }
  out.varint(schema.streams.length);
  for (const stream of schema.streams) {
    out.varint(stream.stream);
    out.text(stream.name);
    out.text(stream.table);
  }
}
function readSchema(input: ByteReader): ServerMessage {
  const tables = readMany(input, 3, (): TableSchema => {
    const name = input.text(NAME_BYTES_MAX);
    const keyColumns = input.varint();
    const columns = readMany(
      input,
      3,
      (): ColumnSchema => ({
        name: input.text(NAME_BYTES_MAX),
        sqliteType: pick(SQLITE_TYPES, input.u8()),
        pgType: input.text(NAME_BYTES_MAX),
      }),
    );
    if (keyColumns < 1 || keyColumns > columns.length) throw new MalformedBytesError('impossible key');
    return { name, columns, keyColumns };
  });
  const streams = readMany(
    input,
    3,
    (): StreamSchema => ({
      stream: readStreamNo(input),
      name: input.text(NAME_BYTES_MAX),
      table: input.text(NAME_BYTES_MAX),
    }),
  );
  return { type: 'schema', tables, streams };
}

function writeBucketIds(out: ByteWriter, buckets: readonly BucketId[]): void {
  out.varint(buckets.length);
  for (const bucket of buckets) out.raw(parseHex(bucket));
}
function readBucketIds(input: ByteReader): BucketId[] {
  return readMany(input, 16, () => readBucketId(input));
}
function readBucketId(input: ByteReader): BucketId {
  return hexFromBytes(input.raw(16)) as BucketId;
}
function writeAnnouncements(out: ByteWriter, announcements: readonly BucketAnnouncement[]): void {
  out.varint(announcements.length);
  for (const { no, bucket, stream } of announcements) {
    out.varint(no);
    out.raw(parseHex(bucket));
    out.varint(stream);
  }
}
function readAnnouncements(input: ByteReader): BucketAnnouncement[] {
  return readMany(input, 18, () => ({ no: input.varint(), bucket: readBucketId(input), stream: readStreamNo(input) }));
}

/** A count is believed only when that many items of the least size could still follow. */
function readMany<T>(input: ByteReader, itemBytesMin: number, read: () => T): T[] {
  const count = input.varint();
  if (count * itemBytesMin > input.remaining) throw new MalformedBytesError('impossible count');
  return Array.from({ length: count }, read);
}
function readSeq(input: ByteReader): number {
  const seq = input.varint();
  if (seq === 0) throw new MalformedBytesError('a sequence number begins with 1');
  return seq;
}
function readFlag(input: ByteReader): boolean {
  const flag = input.u8();
  if (flag > 1) throw new MalformedBytesError('unknown flag');
  return flag === 1;
}
function readEpoch(input: ByteReader): Epoch {
  return inRange(() => parseEpoch(input.varint()));
}
function readStreamNo(input: ByteReader): ReturnType<typeof parseStreamNo> {
  return inRange(() => parseStreamNo(input.varint()));
}
function readLsn(input: ByteReader): Lsn {
  return inRange(() => lsnFromBigint(input.u64()));
}
function readCodec(input: ByteReader): ChunkCodec {
  const codec = input.u8();
  if (codec !== CODEC_STORED && codec !== CODEC_DEFLATE_RAW) throw new MalformedBytesError('unknown codec');
  return codec;
}
function pick<T>(values: readonly T[], index: number): T {
  const value = values[index];
  if (value === undefined) throw new MalformedBytesError('unknown enumeration value');
  return value;
}
function inRange<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (error instanceof RangeError) throw new MalformedBytesError(error.message);
    throw error;
  }
}

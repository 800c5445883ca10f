import {
  type BucketId,
  ByteReader,
  type CellValue,
  formatLsn,
  hexFromBytes,
  MalformedBytesError,
  parseEpoch,
  parseHex,
  parseLsn,
  readCell,
} from '@sluice/domain';
import { CODEC_STORED, forEachOp, OP_PUT } from './chunk.ts';
import { type ClientMessage, LIMITS, type ServerMessage } from './messages.ts';

/**
 * The JSON form of the protocol, for debugging: the same messages in the same order, one JSON object each. LSNs are text
 * as Postgres writes them, checksums 16 hex digits. A chunk that is not deflated shows its ops decoded; integers outside
 * JavaScript's safe range are `{"$int": "…"}`, blobs `{"$blob": "<hex>"}`, floats that JSON lacks `{"$float": "…"}`. An upload's mutations are the hex of their payload.
 */
export function jsonFromServerMessage(message: ServerMessage): string {
  switch (message.type) {
    case 'checkpoint':
      return JSON.stringify({ ...message, lsn: formatLsn(message.lsn) });
    case 'checkpoint-end': {
      const sums = message.sums.map((sum) => ({ ...sum, checksum: sum.checksum.toString(16).padStart(16, '0') }));
      return JSON.stringify({ ...message, lsn: formatLsn(message.lsn), sums });
    }
    case 'chunk': {
      const { type, no, codec, ops, payloadBytes, payload } = message;
      if (codec !== CODEC_STORED)
        return JSON.stringify({ type, no, codec, ops, payloadBytes, payload: hexFromBytes(payload) });
      return JSON.stringify({ type, no, ops: opsAsJson(payload) });
    }
    default:
      return JSON.stringify(message);
  }
}

/** A row is shown whole; a removed row by its key. Cells stand in the order of the table's columns. */
function opsAsJson(payload: Uint8Array): unknown[] {
  const ops: unknown[] = [];
  forEachOp(payload, (kind, start, end) => {
    const cells: unknown[] = [];
    const reader = new ByteReader(payload, start, end);
    while (reader.remaining > 0) cells.push(cellAsJson(readCell(reader)));
    ops.push(kind === OP_PUT ? { put: cells } : { remove: cells });
  });
  return ops;
}

function cellAsJson(value: CellValue): unknown {
  if (typeof value === 'bigint') return { $int: String(value) };
  if (value instanceof Uint8Array) return { $blob: hexFromBytes(value) };
  if (typeof value === 'number' && (!Number.isFinite(value) || Object.is(value, -0)))
    return { $float: Object.is(value, -0) ? '-0' : String(value) };
  return value;
}

/**
 * Reads a client's message in its JSON form. Unknown fields are refused: they would be a mistake that nobody sees.
 * @throws MalformedBytesError for anything that is not exactly one well-formed message of this version
 */
export function clientMessageFromJson(text: string): ClientMessage {
  const fields = new Fields(parse(text));
  const message = readMessage(fields);
  fields.finish();
  return message;
}

function readMessage(fields: Fields): ClientMessage {
  const type = fields.text('type', 16);
  switch (type) {
    case 'hello':
      return {
        type,
        version: fields.integer('version', 0, Number.MAX_SAFE_INTEGER),
        project: fields.text('project', 1024),
        token: fields.text('token', LIMITS.clientMessageBytesMax),
        clientId: fields.text('clientId', 1024),
        sdk: fields.text('sdk', 1024),
        resume: readResume(fields.optional('resume')),
      };
    case 'token':
      return { type, token: fields.text('token', LIMITS.clientMessageBytesMax) };
    case 'applied':
      return { type, ...readCheckpoint(fields) };
    case 'ping':
      return { type, nonce: fields.integer('nonce', 0, 0xffffffff) };
    case 'upload':
      return {
        type,
        seq: fields.integer('seq', 1, Number.MAX_SAFE_INTEGER),
        refusalsKept: fields.integer('refusalsKept', 0, Number.MAX_SAFE_INTEGER),
        mutations: parseHex(fields.text('mutations', 2 * LIMITS.uploadBytesMax)),
      };
    default:
      throw new MalformedBytesError('unknown client message');
  }
}

function readResume(value: unknown): Extract<ClientMessage, { type: 'hello' }>['resume'] {
  if (value === undefined || value === null) return undefined;
  const fields = new Fields(value);
  const { epoch, lsn } = readCheckpoint(fields);
  const list = fields.take('buckets');
  if (!Array.isArray(list)) throw new MalformedBytesError('buckets is not a list');
  const buckets = list.map(readBucketId);
  fields.finish();
  return { epoch, lsn, buckets };
}

function readCheckpoint(fields: Fields): Pick<Extract<ClientMessage, { type: 'applied' }>, 'epoch' | 'lsn'> {
  const epoch = parseEpoch(fields.integer('epoch', 1, 0x7fffffff));
  const text = fields.text('lsn', 40);
  try {
    return { epoch, lsn: parseLsn(text) };
  } catch {
    throw new MalformedBytesError('lsn is not an LSN');
  }
}

function readBucketId(value: unknown): BucketId {
  if (typeof value !== 'string' || value.length !== 32) throw new MalformedBytesError('not a bucket id');
  return hexFromBytes(parseHex(value)) as BucketId;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new MalformedBytesError('not JSON');
  }
}

/** An object's fields, each taken once; what nobody took is unknown. */
class Fields {
  private readonly left: Map<string, unknown>;

  constructor(value: unknown) {
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw new MalformedBytesError('not an object');
    this.left = new Map(Object.entries(value));
  }
  optional(name: string): unknown {
    const value = this.left.get(name);
    this.left.delete(name);
    return value;
  }
  take(name: string): unknown {
    if (!this.left.has(name)) throw new MalformedBytesError(`${name} is missing`);
    return this.optional(name);
  }
  text(name: string, charactersMax: number): string {
    const value = this.take(name);
    if (typeof value !== 'string' || value.length > charactersMax || /[\ud800-\udfff]/u.test(value))
      throw new MalformedBytesError(`${name} is not a text`);
    return value;
  }
  integer(name: string, min: number, max: number): number {
    const value = this.take(name);
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < min || value > max)
      throw new MalformedBytesError(`${name} is not an integer`);
    return value;
  }
  finish(): void {
    if (this.left.size > 0) throw new MalformedBytesError('unknown field');
  }
}

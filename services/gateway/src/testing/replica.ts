import { inflateRawSync } from 'node:zlib';
import { type BucketId, ByteReader, type Epoch, type Lsn, rowHash, skipCell, tableSeed } from '@sluice/domain';
import {
  CODEC_STORED,
  decodeServerMessage,
  forEachOp,
  OP_PUT,
  type ServerMessage,
  type TableSchema,
} from '@sluice/protocol';

type CheckpointMessage = Extract<ServerMessage, { type: 'checkpoint' }>;
interface Held {
  readonly table: string;
  /** Encoded row by its key's bytes as hex. */
  readonly rows: Map<string, Uint8Array>;
}
export interface ReceivedPut {
  readonly bucket: BucketId;
  readonly row: string;
  readonly isReplace: boolean;
}

/**
 * The plainest client that follows the protocol: it keeps each bucket's rows by themselves, applies a checkpoint only at
 * its end, and throws at whatever does not fit. It shares no code with the gateway's way out.
 */
export class Replica {
  epoch: Epoch | undefined;
  lsn: Lsn | undefined;
  buckets = new Map<BucketId, Held>();
  tables = new Map<string, TableSchema>();
  schemas = 0;
  readonly applied: { epoch: Epoch; lsn: Lsn }[] = [];
  /** Puts of the last checkpoint, for looking at what was on the wire. */
  lastPuts: ReceivedPut[] = [];
  lastCheckpoint: CheckpointMessage | undefined;
  lastChunks = 0;
  private tableByStream = new Map<number, string>();
  private open: CheckpointMessage | undefined;
  private staged = new Map<BucketId, Held>();
  private puts: ReceivedPut[] = [];
  private bucketByNo = new Map<number, { bucket: BucketId; isReplace: boolean }>();

  receive(bytes: Uint8Array): ServerMessage {
    const message = decodeServerMessage(bytes);
    this.apply(message);
    return message;
  }

  private apply(message: ServerMessage): void {
    if (message.type === 'schema') this.onSchema(message);
    else if (message.type === 'checkpoint') this.onCheckpoint(message);
    else if (message.type === 'chunk') this.onChunk(message);
    else if (message.type === 'checkpoint-end') this.onEnd(message);
  }

  private onSchema(message: Extract<ServerMessage, { type: 'schema' }>): void {
    if (this.open) throw new Error('schema inside a checkpoint');
    this.schemas++;
    this.tables = new Map(message.tables.map((table) => [table.name, table]));
    this.tableByStream = new Map(message.streams.map((stream) => [stream.stream, stream.table]));
  }

  private onCheckpoint(message: CheckpointMessage): void {
    if (this.open) throw new Error('a checkpoint inside a checkpoint');
    if (this.lsn !== undefined && !message.reset && (message.epoch !== this.epoch || message.lsn < this.lsn))
      throw new Error('a checkpoint that goes back');
    this.open = message;
    this.puts = [];
    this.lastChunks = 0;
    this.bucketByNo.clear();
    this.staged = new Map();
    if (!message.reset) for (const [id, held] of this.buckets) this.staged.set(id, held);
    for (const bucket of message.drop) this.staged.delete(bucket);
    for (const { no, bucket, stream } of message.replace) {
      this.announce(no, bucket, true);
      this.staged.set(bucket, { table: this.tableOf(stream), rows: new Map() });
    }
    for (const { no, bucket } of message.extend) {
      this.announce(no, bucket, false);
      const held = this.staged.get(bucket);
      if (!held) throw new Error('extends a bucket that is not held');
      this.staged.set(bucket, { table: held.table, rows: new Map(held.rows) });
    }
  }

  private announce(no: number, bucket: BucketId, isReplace: boolean): void {
    if (this.bucketByNo.has(no)) throw new Error('one number for two buckets');
    this.bucketByNo.set(no, { bucket, isReplace });
  }

  private onChunk(message: Extract<ServerMessage, { type: 'chunk' }>): void {
    const announced = this.bucketByNo.get(message.no);
    const held = announced && this.staged.get(announced.bucket);
    if (!this.open || !announced || !held) throw new Error('a chunk of a bucket that was not announced');
    this.lastChunks++;
    const payload = message.codec === CODEC_STORED ? message.payload : inflateRawSync(message.payload);
    if (payload.length !== message.payloadBytes) throw new Error('payload length differs');
    const count = forEachOp(payload, (kind, start, end) => {
      const body = payload.slice(start, end);
      const key = this.keyOf(held.table, body);
      if (kind === OP_PUT) {
        if (announced.isReplace && held.rows.has(key)) throw new Error('a replaced bucket holds a row twice');
        held.rows.set(key, body);
        const row = Buffer.from(body).toString('hex');
        this.puts.push({ bucket: announced.bucket, row, isReplace: announced.isReplace });
      } else {
        if (announced.isReplace) throw new Error('a replaced bucket removes a row');
        held.rows.delete(key);
      }
    });
    if (count !== message.ops) throw new Error('op count differs');
  }

  private onEnd(message: Extract<ServerMessage, { type: 'checkpoint-end' }>): void {
    if (!this.open || message.epoch !== this.open.epoch || message.lsn !== this.open.lsn)
      throw new Error('an end without its checkpoint');
    const announced = new Set(this.bucketByNo.keys());
    for (const { no, checksum, rows } of message.sums) {
      const bucket = this.bucketByNo.get(no)?.bucket;
      const held = bucket && this.staged.get(bucket);
      if (!held) throw new Error('a sum of a bucket that was not announced');
      announced.delete(no);
      if (held.rows.size !== rows) throw new Error(`rows: ${held.rows.size} held, ${rows} counted`);
      if (checksumOf(held) !== checksum) throw new Error('checksum differs');
    }
    if (announced.size > 0) throw new Error('an announced bucket has no sum');
    this.lastCheckpoint = this.open;
    this.lastPuts = this.puts;
    this.buckets = this.staged;
    this.epoch = message.epoch;
    this.lsn = message.lsn;
    this.applied.push({ epoch: message.epoch, lsn: message.lsn });
    this.open = undefined;
  }

  /** Forgets an unfinished checkpoint, as a new connection does. */
  disconnect(): void {
    this.open = undefined;
  }

  get resume() {
    if (this.epoch === undefined || this.lsn === undefined) return undefined;
    return { epoch: this.epoch, lsn: this.lsn, buckets: [...this.buckets.keys()] };
  }

  /** All rows that the client shows, each once, as sorted hex. */
  rows(): string[] {
    const rows = new Set<string>();
    for (const held of this.buckets.values())
      for (const row of held.rows.values()) rows.add(Buffer.from(row).toString('hex'));
    return [...rows].sort();
  }

  private tableOf(stream: number): string {
    const table = this.tableByStream.get(stream);
    if (table === undefined) throw new Error('a bucket of an unknown stream');
    return table;
  }
  private keyOf(tableName: string, body: Uint8Array): string {
    const table = this.tables.get(tableName);
    if (!table) throw new Error('a table without schema');
    const reader = new ByteReader(body);
    for (let i = 0; i < table.keyColumns; i++) skipCell(reader);
    return Buffer.from(body.subarray(0, reader.at)).toString('hex');
  }
}

function checksumOf(held: Held): bigint {
  const seed = tableSeed(held.table);
  let sum = 0n;
  for (const row of held.rows.values()) sum += rowHash(seed, row);
  return BigInt.asUintN(64, sum);
}

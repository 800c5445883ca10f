import {
  type BucketId,
  ByteWriter,
  type CellValue,
  type Checkpoint,
  hexFromBytes,
  lsnFromBigint,
  parseEpoch,
  parseStreamNo,
  rowHash,
  type StreamNo,
  tableSeed,
  writeCell,
} from '@sluice/domain';
import {
  appendOp,
  type BucketAnnouncement,
  type BucketSum,
  CODEC_DEFLATE_RAW,
  CODEC_STORED,
  OP_PUT,
  OP_REMOVE,
  type ServerMessage,
  type StreamSchema,
  type TableSchema,
} from '@sluice/protocol';
import { deflateSync } from 'fflate';

/** A value with the distinction that JavaScript lacks: 1.0 as a float is not the integer 1. */
export interface ModelCell {
  readonly value: CellValue;
  readonly isFloat: boolean;
}
export type ModelRow = readonly ModelCell[];
interface HeldRow {
  readonly table: string;
  readonly row: ModelRow;
  readonly buckets: ReadonlySet<BucketId>;
}
type Frame = Map<BucketId, Map<string, { readonly kind: 0 | 1; readonly bytes: Uint8Array }>>;

export function encodeRow(row: ModelRow): Uint8Array {
  const out = new ByteWriter(256);
  for (const { value, isFloat } of row) writeCell(out, value, isFloat);
  return out.take();
}
export function bucketId(n: number): BucketId {
  return n.toString(16).padStart(32, '0') as BucketId;
}

/**
 * The server as a client sees it, without any of its cleverness: rows, who holds them, and what happened frame by frame.
 * It speaks the messages of a gateway that diffs, extends and replaces buckets.
 */
export class ModelSource {
  readonly tables: TableSchema[];
  readonly streams: StreamSchema[];
  readonly streamOf = new Map<BucketId, StreamNo>();
  epoch = 1;
  lsn = 0;
  readonly #rows = new Map<string, HeldRow>();
  #frames: Frame[] = [];

  constructor(tables: TableSchema[], streams: StreamSchema[]) {
    this.tables = tables;
    this.streams = streams;
  }

  addBucket(bucket: BucketId, stream: number): void {
    this.streamOf.set(bucket, parseStreamNo(stream));
  }

  /** Each call of `put`, `move` and `delete` until the next one belongs to one more frame. */
  beginFrame(): void {
    this.#frames.push(new Map());
  }
  /** Sets the row and who holds it; nobody holding it deletes it. */
  set(table: string, row: ModelRow, buckets: readonly BucketId[]): void {
    const id = this.#rowId(table, row);
    const before = this.#rows.get(id);
    const held = new Set(buckets);
    const bytes = encodeRow(row);
    const key = this.#keyBytes(table, row);
    for (const bucket of before?.buckets ?? []) if (!held.has(bucket)) this.#record(bucket, key, OP_REMOVE, key);
    const isSame = before !== undefined && hexFromBytes(encodeRow(before.row)) === hexFromBytes(bytes);
    for (const bucket of held) if (!isSame || !before?.buckets.has(bucket)) this.#record(bucket, key, OP_PUT, bytes);
    if (held.size > 0) this.#rows.set(id, { table, row, buckets: held });
    else this.#rows.delete(id);
  }
  #record(bucket: BucketId, key: Uint8Array, kind: 0 | 1, bytes: Uint8Array): void {
    const frame = this.#frames.at(-1);
    if (!frame) throw new Error('begin a frame first');
    const ops = frame.get(bucket) ?? new Map();
    frame.set(bucket, ops);
    ops.set(hexFromBytes(key), { kind, bytes });
  }
  #tableNamed(name: string): TableSchema {
    const table = this.tables.find((candidate) => candidate.name === name);
    if (!table) throw new Error(`no table ${name}`);
    return table;
  }
  #keyBytes(table: string, row: ModelRow): Uint8Array {
    return encodeRow(row.slice(0, this.#tableNamed(table).keyColumns));
  }
  #rowId(table: string, row: ModelRow): string {
    return `${table}:${hexFromBytes(this.#keyBytes(table, row))}`;
  }

  /** Rows of the table that the buckets give, in key order of their bytes. */
  expectedRows(table: string, buckets: ReadonlySet<BucketId>): ModelRow[] {
    return [...this.#rows.entries()]
      .filter(([, held]) => held.table === table && [...held.buckets].some((bucket) => buckets.has(bucket)))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, held]) => held.row);
  }
  sumOf(bucket: BucketId): { checksum: bigint; rows: number } {
    let checksum = 0n;
    let rows = 0;
    for (const held of this.#rows.values()) {
      if (!held.buckets.has(bucket)) continue;
      checksum = BigInt.asUintN(64, checksum + rowHash(tableSeed(held.table), encodeRow(held.row)));
      rows++;
    }
    return { checksum, rows };
  }

  schemaMessage(): Extract<ServerMessage, { type: 'schema' }> {
    return { type: 'schema', tables: this.tables, streams: this.streams };
  }
  get checkpoint(): Checkpoint {
    return { epoch: parseEpoch(this.epoch), lsn: lsnFromBigint(BigInt(this.lsn)), committedAtMs: this.lsn * 1000 };
  }

  /**
   * The messages of the next checkpoint for a client that holds `held` and shall hold `wanted`; frames since the one
   * before are extended, buckets in `replaced` come whole. Bucket numbers start at `firstNo`.
   */
  checkpointMessages(input: {
    readonly held: ReadonlySet<BucketId>;
    readonly wanted: ReadonlySet<BucketId>;
    readonly replaced: ReadonlySet<BucketId>;
    readonly reset: boolean;
    readonly deflate?: boolean;
    readonly opsPerChunk?: number;
  }): ServerMessage[] {
    const { held, wanted, replaced, reset } = input;
    this.lsn += 1;
    const frames = this.#frames;
    this.#frames = [];
    const opsPerChunk = input.opsPerChunk ?? 1000;
    const drop = reset ? [] : [...held].filter((bucket) => !wanted.has(bucket));
    const replace = [...wanted].filter((bucket) => reset || !held.has(bucket) || replaced.has(bucket));
    const kept = new Set([...wanted].filter((bucket) => !replace.includes(bucket)));
    const extend = [...kept].filter((bucket) => frames.some((frame) => frame.has(bucket)));
    let no = 0;
    const announce = (bucket: BucketId): BucketAnnouncement => {
      const stream = this.streamOf.get(bucket);
      if (stream === undefined) throw new Error('a bucket without a stream');
      return { no: ++no, bucket, stream };
    };
    const announcedReplace = replace.map(announce);
    const announcedExtend = extend.map(announce);
    const chunks: Extract<ServerMessage, { type: 'chunk' }>[] = [];
    for (const { no: number, bucket } of announcedReplace) {
      const ops = [...this.#rows.values()]
        .filter((row) => row.buckets.has(bucket))
        .map((row) => ({ kind: OP_PUT, bytes: encodeRow(row.row) }) as const);
      chunks.push(...packChunks(number, ops, opsPerChunk, input.deflate === true));
    }
    for (const { no: number, bucket } of announcedExtend)
      for (const frame of frames) {
        const ops = [...(frame.get(bucket)?.values() ?? [])];
        chunks.push(...packChunks(number, ops, opsPerChunk, input.deflate === true));
      }
    const sums: BucketSum[] = [...announcedReplace, ...announcedExtend].map(({ no: number, bucket }) => ({
      no: number,
      ...this.sumOf(bucket),
    }));
    const totalOps = chunks.reduce((total, chunk) => total + chunk.ops, 0);
    const totalBytes = chunks.reduce((total, chunk) => total + chunk.payload.length, 0);
    const { epoch, lsn, committedAtMs } = this.checkpoint;
    return [
      {
        type: 'checkpoint',
        epoch,
        lsn,
        committedAtMs,
        reset,
        drop,
        replace: announcedReplace,
        extend: announcedExtend,
        totalOps,
        totalBytes,
      },
      ...chunks,
      { type: 'checkpoint-end', epoch, lsn, sums },
    ];
  }
}

function packChunks(
  no: number,
  ops: readonly { readonly kind: 0 | 1; readonly bytes: Uint8Array }[],
  opsPerChunk: number,
  deflate: boolean,
): Extract<ServerMessage, { type: 'chunk' }>[] {
  const chunks: Extract<ServerMessage, { type: 'chunk' }>[] = [];
  for (let at = 0; at < ops.length; at += opsPerChunk) {
    const part = ops.slice(at, at + opsPerChunk);
    const out = new ByteWriter(4096);
    for (const { kind, bytes } of part) appendOp(out, kind, bytes, 0, bytes.length);
    const payload = out.take();
    chunks.push({
      type: 'chunk',
      no,
      codec: deflate ? CODEC_DEFLATE_RAW : CODEC_STORED,
      ops: part.length,
      payloadBytes: payload.length,
      payload: deflate ? deflateSync(payload) : payload,
    });
  }
  return chunks;
}

import { deflateRawSync } from 'node:zlib';
import type { ChunkWrite } from '@sluice/bucket-store';
import { ByteWriter, type Lsn, type StreamNo } from '@sluice/domain';
import {
  appendDirectoryEntry,
  appendOp,
  CHUNK_PAYLOAD_BYTES_MAX,
  CODEC_DEFLATE_RAW,
  CODEC_STORED,
  type OpKind,
  writeDirectoryHead,
} from '@sluice/protocol';
import { NewestOps } from './newest-ops.ts';
import type { OpArena } from './op-arena.ts';
import type { BucketState } from './stream-state.ts';

/** Smaller payloads are stored as they are: they travel in few packets either way. */
const DEFLATE_BYTES_MIN = 8 * 1024;
/** A deflated payload must be at most this share of the plain one, else everybody would inflate it for nothing. */
const DEFLATED_SHARE_MAX = 0.8;
/** Level 1 finds most of the redundancy of rows at a third of the default level's time. */
const DEFLATE_LEVEL = 1;

/** Bytes of one frame's chunks, and where each chunk's stand: the buffer may still move while it grows. */
export class ChunkWriter {
  private readonly out = new ByteWriter(1 << 20);
  private readonly directory = new ByteWriter(1 << 12);
  private readonly newest = new NewestOps();
  private readonly chunks: PlacedChunk[] = [];
  private deflates = false;

  /** Begins a frame's chunks. */
  begin(options: { readonly deflates: boolean }): void {
    this.deflates = options.deflates;
    this.out.reset();
    this.chunks.length = 0;
  }

  /** Writes the bucket's chunk: the newest op per row (L8); several parts when it would be too large for one. */
  add(stream: StreamNo, bucket: BucketState, arena: OpArena, baseLsn: Lsn): void {
    const ops = this.newest.of(bucket.ops, arena);
    let deltas = { rows: bucket.rows, checksum: bucket.checksum.toBigint() };
    for (let from = 0; from < ops.length; ) {
      const start = this.out.length;
      const to = this.writePayload(ops, from, arena);
      const payloadBytes = this.out.length - start;
      const deflated = this.deflated(start);
      const directoryStart = this.out.length;
      this.writeDirectory(ops, from, to, arena, baseLsn);
      this.chunks.push({
        stream,
        bucket: bucket.id,
        ops: to - from,
        rowsDelta: deltas.rows,
        checksumDelta: deltas.checksum,
        codec: deflated ? CODEC_DEFLATE_RAW : CODEC_STORED,
        payloadBytes,
        start,
        directoryStart,
        end: this.out.length,
        deflated,
      });
      // Totals are of the bucket, so they are told once.
      deltas = { rows: 0, checksum: 0n };
      from = to;
    }
  }

  /** The chunks, as views of this writer's buffer: valid until `begin`. */
  finish(): ChunkWrite[] {
    const { bytes } = this.out;
    return this.chunks.map(({ start, directoryStart, end, deflated, ...chunk }) => ({
      ...chunk,
      directory: bytes.subarray(directoryStart, end),
      payload: deflated ?? bytes.subarray(start, directoryStart),
    }));
  }

  /** Appends ops from `from` on until the payload is full; gives the index of the first that did not fit. */
  private writePayload(ops: Int32Array, from: number, arena: OpArena): number {
    const { out } = this;
    const start = out.length;
    let at = from;
    for (; at < ops.length; at++) {
      const op = ops[at] as number;
      const bodyStart = arena.start[op] as number;
      const bodyEnd = arena.end[op] as number;
      const isFull = out.length - start + (bodyEnd - bodyStart) + OP_HEAD_BYTES_MAX > CHUNK_PAYLOAD_BYTES_MAX;
      if (isFull && at > from) break;
      appendOp(out, arena.kind[op] as OpKind, arena.bytes.bytes, bodyStart, bodyEnd);
    }
    return at;
  }

  /** Takes the payload at `start` out of the buffer when deflating it pays. */
  private deflated(start: number): Uint8Array | undefined {
    const plain = this.out.bytes.subarray(start, this.out.length);
    if (!this.deflates || plain.length < DEFLATE_BYTES_MIN) return undefined;
    const deflated = deflateRawSync(plain, { level: DEFLATE_LEVEL });
    if (deflated.length > plain.length * DEFLATED_SHARE_MAX) return undefined;
    this.out.length = start;
    return deflated;
  }

  private writeDirectory(ops: Int32Array, from: number, to: number, arena: OpArena, baseLsn: Lsn): void {
    const { directory } = this;
    directory.reset();
    writeDirectoryHead(directory, to - from, baseLsn);
    const entry = { hashLo: 0, hashHi: 0, lsnDelta: 0, seq: 0, keyBytes: 0 };
    for (let at = from; at < to; at++) {
      const op = ops[at] as number;
      entry.hashLo = arena.keyHashLo[op] as number;
      entry.hashHi = arena.keyHashHi[op] as number;
      entry.lsnDelta = arena.lsnDelta[op] as number;
      entry.seq = arena.seq[op] as number;
      entry.keyBytes = arena.keyBytes[op] as number;
      appendDirectoryEntry(directory, entry);
    }
    this.out.raw(directory.bytes, 0, directory.length);
  }
}

/** Kind and the length of a body. */
const OP_HEAD_BYTES_MAX = 9;

type PlacedChunk = Omit<ChunkWrite, 'directory' | 'payload'> & {
  readonly start: number;
  readonly directoryStart: number;
  readonly end: number;
  readonly deflated: Uint8Array | undefined;
};

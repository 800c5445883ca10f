import type { StoredChunk } from '@sluice/bucket-store';
import { ByteWriter, type Lsn } from '@sluice/domain';
import { InvariantError } from '@sluice/errors';
import {
  appendDirectoryEntry,
  appendOp,
  CODEC_STORED,
  forEachOp,
  OP_REMOVE,
  type OpKind,
  readDirectory,
  readDirectoryBase,
  writeDirectoryHead,
} from '@sluice/protocol';

/** A chunk with its payload inflated. */
export interface OpenChunk {
  readonly chunk: StoredChunk;
  readonly payload: Uint8Array;
}
export interface FoldOptions {
  /** Row keys of ops in chunks newer than the input; those found in it are added. */
  readonly newerKeys: Set<string>;
  /** Removes at or below it go when nothing older has their row; undefined keeps them all. Only for input that begins the bucket. */
  readonly dropRemovesThrough: Lsn | undefined;
  /** Rows whose removes go: nothing older has them. */
  readonly bareKeys?: ReadonlySet<string>;
  /** Called for every op of the input, the newest chunk first. */
  readonly onOp?: (op: Pick<ChunkOp, 'key' | 'kind' | 'lsn'>) => void;
}
export interface FoldResult {
  /** What takes the input's place, payloads not yet deflated. */
  readonly chunks: readonly StoredChunk[];
  readonly isChanged: boolean;
  readonly opsDropped: number;
}

/** Neighbours are joined up to this many payload bytes. */
const JOINED_BYTES_MAX = 256 * 1024;

/**
 * Leaves the newest op of every row (L5, L8). Each chunk that is left has the position of the last one joined into it, so
 * an op only ever moves to a later position, and a reader that pages through the bucket meanwhile meets it once more, never
 * not at all. Totals are carried along unchanged: their sum at any checkpoint from the last input's on is what it was (L9).
 *
 * A remove that hides an older op of the input stays even when it may be dropped: a reader may have met that older op. It
 * goes in a later pass, when it stands alone.
 *
 * @param input neighbouring chunks of one bucket in order
 * @throws InvariantError when a chunk's directory does not fit its payload
 */
export function foldChunks(input: readonly OpenChunk[], options: FoldOptions): FoldResult {
  const outputs: JoinedChunk[] = [];
  let opsDropped = 0;
  const kept = input.map((open) => ({ open, ops: opsOf(open) }));
  const newest = [...kept].reverse().map(({ ops }) => {
    for (const op of ops) options.onOp?.(op);
    const left = ops.filter((op) => !options.newerKeys.has(op.key));
    // The directory has a row once, so a chunk's own ops never hide each other.
    for (const op of ops) options.newerKeys.add(op.key);
    return left;
  });
  newest.reverse();
  const bare = bareRemoves(kept, options.dropRemovesThrough);
  for (const [i, { open, ops }] of kept.entries()) {
    const left = (newest[i] as ChunkOp[]).filter(
      (op) => !bare.has(op) && !(op.kind === OP_REMOVE && options.bareKeys?.has(op.key)),
    );
    opsDropped += ops.length - left.length;
    const last = outputs.at(-1);
    if (last && (last.bytes + bytesOf(left) <= JOINED_BYTES_MAX || last.ops.length === 0)) last.join(open, left);
    else outputs.push(new JoinedChunk(open, left));
  }
  const chunks = outputs.map((output) => output.encode()).filter((chunk) => !isVoid(chunk));
  return { chunks, isChanged: opsDropped > 0 || outputs.length < input.length, opsDropped };
}

interface ChunkOp {
  readonly key: string;
  readonly kind: OpKind;
  readonly payload: Uint8Array;
  readonly start: number;
  readonly end: number;
  readonly keyHash: bigint;
  readonly keyBytes: number;
  readonly lsn: Lsn;
  readonly seq: number;
}

function opsOf({ chunk, payload }: OpenChunk): ChunkOp[] {
  const entries = readDirectory(chunk.directory);
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.length);
  const ops: ChunkOp[] = [];
  forEachOp(payload, (kind, start, end) => {
    const entry = entries[ops.length];
    if (!entry || start + entry.keyBytes > end) throw new InvariantError('a directory does not fit its payload');
    const { keyHash, keyBytes, position } = entry;
    const key = bytes.toString('latin1', start, start + keyBytes);
    ops.push({ key, kind, payload, start, end, keyHash, keyBytes, lsn: position.lsn, seq: position.seq });
  });
  if (ops.length !== entries.length) throw new InvariantError('a directory does not fit its payload');
  return ops;
}

/** Removes at or below `through` that are the first op of their row. */
function bareRemoves(
  chunks: readonly { readonly ops: readonly ChunkOp[] }[],
  through: Lsn | undefined,
): ReadonlySet<ChunkOp> {
  const bare = new Set<ChunkOp>();
  if (through === undefined) return bare;
  const older = new Set<string>();
  for (const { ops } of chunks)
    for (const op of ops) {
      if (op.kind === OP_REMOVE && op.lsn <= through && !older.has(op.key)) bare.add(op);
      older.add(op.key);
    }
  return bare;
}

const OP_HEAD_BYTES = 9;
function bytesOf(ops: readonly ChunkOp[]): number {
  return ops.reduce((bytes, op) => bytes + op.end - op.start + OP_HEAD_BYTES, 0);
}

/** Nothing to give and nothing to count. */
function isVoid(chunk: StoredChunk): boolean {
  return chunk.ops === 0 && chunk.rowsDelta === 0 && chunk.checksumDelta === 0n;
}

class JoinedChunk {
  readonly ops: ChunkOp[];
  bytes: number;
  private last: StoredChunk;
  private baseLsn: Lsn;
  private rowsDelta: number;
  private checksumDelta: bigint;

  constructor({ chunk }: OpenChunk, ops: readonly ChunkOp[]) {
    this.ops = [...ops];
    this.bytes = bytesOf(ops);
    this.last = chunk;
    this.baseLsn = readDirectoryBase(chunk.directory);
    this.rowsDelta = chunk.rowsDelta;
    this.checksumDelta = chunk.checksumDelta;
  }

  join({ chunk }: OpenChunk, ops: readonly ChunkOp[]): void {
    this.ops.push(...ops);
    this.bytes += bytesOf(ops);
    this.last = chunk;
    const baseLsn = readDirectoryBase(chunk.directory);
    if (baseLsn < this.baseLsn) this.baseLsn = baseLsn;
    this.rowsDelta += chunk.rowsDelta;
    this.checksumDelta = BigInt.asUintN(64, this.checksumDelta + chunk.checksumDelta);
  }

  encode(): StoredChunk {
    const payload = new ByteWriter(this.bytes + 16);
    const directory = new ByteWriter(32 + this.ops.length * 24);
    writeDirectoryHead(directory, this.ops.length, this.baseLsn);
    for (const op of this.ops) {
      appendOp(payload, op.kind, op.payload, op.start, op.end);
      appendDirectoryEntry(directory, {
        hashLo: Number(op.keyHash & 0xffffffffn),
        hashHi: Number(op.keyHash >> 32n),
        lsnDelta: Number(op.lsn - this.baseLsn),
        seq: op.seq,
        keyBytes: op.keyBytes,
      });
    }
    const { stream, bucket, position, part } = this.last;
    return {
      ...{ stream, bucket, position, part },
      ops: this.ops.length,
      rowsDelta: this.rowsDelta,
      checksumDelta: this.checksumDelta,
      codec: CODEC_STORED,
      payloadBytes: payload.length,
      directory: directory.take(),
      payload: payload.take(),
    };
  }
}

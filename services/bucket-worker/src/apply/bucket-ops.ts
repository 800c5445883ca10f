import { type BucketId, Checksum, type Lsn, type StreamNo } from '@sluice/domain';
import {
  appendDirectoryEntry,
  appendOp,
  CHUNK_PAYLOAD_BYTES_MAX,
  type OpKind,
  writeDirectoryHead,
} from '@sluice/protocol';
import type { FrameWriter } from './frame-writer.ts';

/** One op's body in the frame's bytes, with its row key's hash and its place in history. */
export interface OpBody {
  kind: OpKind;
  start: number;
  end: number;
  keyBytes: number;
  hashLo: number;
  hashHi: number;
  lsnDelta: number;
  seq: number;
}

/** Where a finished chunk stands in FrameWriter.chunks; turned into views once nothing is written any more. */
export interface ChunkPlace {
  readonly stream: StreamNo;
  readonly bucket: BucketId;
  readonly ops: number;
  readonly rowsDelta: number;
  readonly checksumDelta: bigint;
  readonly directoryStart: number;
  readonly payloadStart: number;
  readonly payloadEnd: number;
}

/** The ops of one bucket in one frame. Keeps the newest per row key (L8); the deltas count every op (L9). */
export class BucketOps {
  readonly stream: StreamNo;
  readonly bucket: BucketId;
  readonly checksum = new Checksum();
  rowsDelta = 0;
  #ops: OpBody[] = [];
  /** Index of each row key's newest op; made when a second op comes, most buckets of a small frame have one. */
  #indexByKey: Map<number, number> | undefined;

  constructor(stream: StreamNo, bucket: BucketId) {
    this.stream = stream;
    this.bucket = bucket;
  }

  add(op: OpBody, bytes: Uint8Array): void {
    const first = this.#ops[0];
    if (!first) {
      this.#ops.push({ ...op });
      return;
    }
    if (!this.#indexByKey) this.#indexByKey = new Map([[keyNumber(first), 0]]);
    const index = this.#indexByKey;
    let key = keyNumber(op);
    for (let at = index.get(key); at !== undefined; at = index.get(key)) {
      const older = this.#ops[at] as OpBody;
      if (isSameKey(bytes, older, op)) {
        Object.assign(older, op);
        return;
      }
      // Two keys with one hash: the next number is theirs (open addressing).
      key++;
    }
    index.set(key, this.#ops.length);
    this.#ops.push({ ...op });
  }

  /** Writes the ops in order of position as one chunk, or several where one would pass its bound. */
  finish(writer: FrameWriter, baseLsn: Lsn): ChunkPlace[] {
    if (this.#ops.length === 0) return [];
    const ops = this.#indexByKey ? this.#ops.sort((a, b) => a.lsnDelta - b.lsnDelta || a.seq - b.seq) : this.#ops;
    const places: ChunkPlace[] = [];
    for (let from = 0; from < ops.length; ) {
      const to = endOfChunk(ops, from);
      places.push(this.#write(writer, baseLsn, ops.slice(from, to), from === 0));
      from = to;
    }
    return places;
  }

  #write(writer: FrameWriter, baseLsn: Lsn, ops: readonly OpBody[], carriesDeltas: boolean): ChunkPlace {
    const out = writer.chunks;
    const directoryStart = out.length;
    writeDirectoryHead(out, ops.length, baseLsn);
    for (const op of ops) appendDirectoryEntry(out, op);
    const payloadStart = out.length;
    const { bytes } = writer.bodies;
    for (const op of ops) appendOp(out, op.kind, bytes, op.start, op.end);
    return {
      stream: this.stream,
      bucket: this.bucket,
      ops: ops.length,
      rowsDelta: carriesDeltas ? this.rowsDelta : 0,
      checksumDelta: carriesDeltas ? this.checksum.toBigint() : 0n,
      directoryStart,
      payloadStart,
      payloadEnd: out.length,
    };
  }
}

const OP_HEAD_BYTES_MAX = 9;

function endOfChunk(ops: readonly OpBody[], from: number): number {
  let bytes = 0;
  for (let to = from; to < ops.length; to++) {
    const op = ops[to] as OpBody;
    bytes += op.end - op.start + OP_HEAD_BYTES_MAX;
    if (bytes > CHUNK_PAYLOAD_BYTES_MAX && to > from) return to;
  }
  return ops.length;
}

/** 53 of the 64 bits of the hash, as one number that a Map takes without a string. */
function keyNumber(op: OpBody): number {
  return (op.hashHi & 0x1fffff) * 0x100000000 + op.hashLo;
}

function isSameKey(bytes: Uint8Array, a: OpBody, b: OpBody): boolean {
  if (a.keyBytes !== b.keyBytes || a.hashLo !== b.hashLo || a.hashHi !== b.hashHi) return false;
  for (let i = 0; i < a.keyBytes; i++) if (bytes[a.start + i] !== bytes[b.start + i]) return false;
  return true;
}

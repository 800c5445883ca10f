import { ByteWriter, Hash64 } from '@sluice/domain';
import { OP_PUT, OP_REMOVE } from '@sluice/protocol';

/**
 * The ops of one frame: bodies one after the other in one buffer, everything else in parallel columns, so that an op
 * costs no object. Reused from frame to frame.
 */
export class OpArena {
  readonly bytes = new ByteWriter(1 << 20);
  count = 0;
  kind = new Uint8Array(INITIAL_OPS);
  /** Bounds of the body in `bytes`: the encoded row of a put, the encoded key of a remove. */
  start = new Int32Array(INITIAL_OPS);
  end = new Int32Array(INITIAL_OPS);
  keyBytes = new Int32Array(INITIAL_OPS);
  keyHashLo = new Uint32Array(INITIAL_OPS);
  keyHashHi = new Uint32Array(INITIAL_OPS);
  /** Commit LSN minus the frame's base; a safe integer. */
  lsnDelta = new Float64Array(INITIAL_OPS);
  seq = new Float64Array(INITIAL_OPS);
  private readonly hash = new Hash64();

  reset(): void {
    this.count = 0;
    this.bytes.reset();
  }

  /** Adds a put of the encoded row at [start, end) and gives its index. */
  put(start: number, end: number, keyBytes: number, lsnDelta: number, seq: number): number {
    return this.add(OP_PUT, start, end, keyBytes, lsnDelta, seq);
  }
  /** Adds a remove of the encoded key at `start`. */
  remove(start: number, keyBytes: number, lsnDelta: number, seq: number): number {
    return this.add(OP_REMOVE, start, start + keyBytes, keyBytes, lsnDelta, seq);
  }

  private add(kind: number, start: number, end: number, keyBytes: number, lsnDelta: number, seq: number): number {
    if (this.count === this.kind.length) this.grow();
    const op = this.count++;
    this.kind[op] = kind;
    this.start[op] = start;
    this.end[op] = end;
    this.keyBytes[op] = keyBytes;
    this.lsnDelta[op] = lsnDelta;
    this.seq[op] = seq;
    const { hash } = this;
    hash.update(this.bytes.bytes, this.bytes.view, start, start + keyBytes, 0);
    this.keyHashLo[op] = hash.lo;
    this.keyHashHi[op] = hash.hi;
    return op;
  }

  /** Whether two ops are of the same row. */
  hasSameKey(a: number, b: number): boolean {
    const length = this.keyBytes[a] as number;
    if (this.keyHashLo[a] !== this.keyHashLo[b] || this.keyHashHi[a] !== this.keyHashHi[b]) return false;
    if (length !== this.keyBytes[b]) return false;
    return this.areEqual(this.start[a] as number, this.start[b] as number, length);
  }

  /** Whether `length` bytes at two places are the same. */
  areEqual(a: number, b: number, length: number): boolean {
    const { bytes } = this.bytes;
    for (let i = 0; i < length; i++) if (bytes[a + i] !== bytes[b + i]) return false;
    return true;
  }

  private grow(): void {
    const capacity = this.kind.length * 2;
    this.kind = grown(this.kind, new Uint8Array(capacity));
    this.start = grown(this.start, new Int32Array(capacity));
    this.end = grown(this.end, new Int32Array(capacity));
    this.keyBytes = grown(this.keyBytes, new Int32Array(capacity));
    this.keyHashLo = grown(this.keyHashLo, new Uint32Array(capacity));
    this.keyHashHi = grown(this.keyHashHi, new Uint32Array(capacity));
    this.lsnDelta = grown(this.lsnDelta, new Float64Array(capacity));
    this.seq = grown(this.seq, new Float64Array(capacity));
  }
}

const INITIAL_OPS = 4096;

function grown<T extends { set(from: T): void }>(from: T, to: T): T {
  to.set(from);
  return to;
}

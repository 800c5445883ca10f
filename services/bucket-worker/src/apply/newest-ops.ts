import type { OpArena } from './op-arena.ts';

/** Finds the newest op per row of a bucket: an open-addressing table over key hashes, reused from bucket to bucket. */
export class NewestOps {
  private kept = new Int32Array(1024);
  /** Op index plus 1 per slot; only slots of the present table size count, and they are cleared before use. */
  private slots = new Int32Array(2048);

  /** The ops that stand, oldest first; a view that the next call overwrites. */
  of(ops: readonly number[], arena: OpArena): Int32Array {
    const count = ops.length;
    if (count > this.kept.length) this.kept = new Int32Array(2 ** Math.ceil(Math.log2(count)));
    const { kept } = this;
    if (count === 1) {
      kept[0] = ops[0] as number;
      return kept.subarray(0, 1);
    }
    const mask = this.clearedMask(count);
    const { slots } = this;
    // From the newest to the oldest, filling from the end, so that what stands comes out oldest first.
    let first = kept.length;
    for (let i = count - 1; i >= 0; i--) {
      const op = ops[i] as number;
      let slot = (arena.keyHashLo[op] as number) & mask;
      let known = slots[slot] as number;
      while (known !== 0 && !arena.hasSameKey(known - 1, op)) {
        slot = (slot + 1) & mask;
        known = slots[slot] as number;
      }
      if (known !== 0) continue;
      slots[slot] = op + 1;
      kept[--first] = op;
    }
    return kept.subarray(first);
  }

  /** A table of at least twice as many slots as ops, so that probes stay short. */
  private clearedMask(count: number): number {
    const size = 2 ** Math.ceil(Math.log2(count * 2));
    if (size > this.slots.length) this.slots = new Int32Array(size);
    else this.slots.fill(0, 0, size);
    return size - 1;
  }
}

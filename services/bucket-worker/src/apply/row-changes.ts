import { Hash64 } from '@sluice/domain';
import { ROW_BYTES_MAX } from '@sluice/protocol';
import type { BoundStream } from '@sluice/sync-rules';
import { OpArena } from './op-arena.ts';
import type { ImageSource } from './row-state/tracked-table.ts';
import type { BucketState, StreamState } from './stream-state.ts';

/** Where one image of a row stands in the arena, and the buckets that it belongs to. One object is reused. */
class RowImage {
  readonly buckets: BucketState[] = [];
  count = 0;
  start = 0;
  end = 0;
  keyBytes = 0;
  hashLo = 0;
  hashHi = 0;
}

/**
 * Turns row images into ops of buckets (L6, L7). An image that is in no bucket is never encoded; one whose encoding is
 * too large is in no bucket, which is a pure function of the image, so that its old and its new form agree.
 */
export class RowChanges {
  readonly arena = new OpArena();
  /** New images left out for their size since the owner last looked. */
  tooLarge = 0;
  private readonly old = new RowImage();
  private readonly new = new RowImage();
  private readonly hash = new Hash64();
  // What `visit` adds to: one closure for all rows.
  private state: StreamState | undefined;
  private image = this.new;
  private readonly visit = (disjunct: number, key: string): void => {
    const { image } = this;
    image.buckets[image.count++] = (this.state as StreamState).bucket(disjunct, key);
  };

  insert(state: StreamState, bound: BoundStream, row: ImageSource, lsnDelta: number, seq: number): void {
    const image = this.read(this.new, state, bound, row);
    if (image.count === 0) {
      this.countTooLarge(image);
      return;
    }
    const op = this.arena.put(image.start, image.end, image.keyBytes, lsnDelta, seq);
    for (let i = 0; i < image.count; i++) {
      const bucket = image.buckets[i] as BucketState;
      bucket.ops.push(op);
      bucket.rows++;
      bucket.checksum.add(image.hashLo, image.hashHi);
    }
  }

  delete(state: StreamState, bound: BoundStream, row: ImageSource, lsnDelta: number, seq: number): void {
    const image = this.read(this.old, state, bound, row);
    if (image.count === 0) return;
    this.keepKeyOnly(image);
    const op = this.arena.remove(image.start, image.keyBytes, lsnDelta, seq);
    for (let i = 0; i < image.count; i++) this.removeFrom(image.buckets[i] as BucketState, op, image);
  }

  update(
    state: StreamState,
    bound: BoundStream,
    oldRow: ImageSource,
    newRow: ImageSource,
    lsnDelta: number,
    seq: number,
  ): void {
    // The new image first: the old one, of which at most the key stays, lies at the end and can be cut off.
    const fresh = this.read(this.new, state, bound, newRow);
    const old = this.read(this.old, state, bound, oldRow);
    if (fresh.count === 0) this.countTooLarge(fresh);
    if (fresh.count === 0 && old.count === 0) return;

    const { arena } = this;
    const hasBoth = fresh.count > 0 && old.count > 0;
    const isSameKey =
      hasBoth && fresh.keyBytes === old.keyBytes && arena.areEqual(fresh.start, old.start, fresh.keyBytes);
    const isSameRow = isSameKey && this.areEqualImages(fresh, old);
    let removeOp = -1;
    for (let i = 0; i < old.count; i++) {
      const bucket = old.buckets[i] as BucketState;
      const stays = isIn(bucket, fresh);
      if (stays && isSameRow) continue;
      bucket.rows--;
      bucket.checksum.subtract(old.hashLo, old.hashHi);
      // A put of the same key replaces the row where it stays.
      if (stays && isSameKey) continue;
      if (removeOp === -1) removeOp = arena.remove(old.start, old.keyBytes, lsnDelta, seq);
      bucket.ops.push(removeOp);
    }
    if (old.count > 0) arena.bytes.length = removeOp === -1 ? old.start : old.start + old.keyBytes;

    let putOp = -1;
    for (let i = 0; i < fresh.count; i++) {
      const bucket = fresh.buckets[i] as BucketState;
      if (isSameRow && isIn(bucket, old)) continue;
      // A put of another key than the removed one comes after it within the change.
      if (putOp === -1)
        putOp = arena.put(fresh.start, fresh.end, fresh.keyBytes, lsnDelta, removeOp === -1 ? seq : seq + 1);
      bucket.ops.push(putOp);
      bucket.rows++;
      bucket.checksum.add(fresh.hashLo, fresh.hashHi);
    }
    if (putOp === -1 && removeOp === -1 && fresh.count > 0) arena.bytes.length = fresh.start;
  }

  /** Finds the image's buckets and, if there are any, encodes it at the arena's end. */
  private read(image: RowImage, state: StreamState, bound: BoundStream, { src, slots }: ImageSource): RowImage {
    this.state = state;
    this.image = image;
    image.count = 0;
    image.start = 0;
    image.end = 0;
    bound.bucketKeys(src, slots, this.visit);
    if (image.count === 0) return image;
    const { bytes } = this.arena;
    image.start = bytes.length;
    image.keyBytes = bound.encodeRow(src, slots, bytes);
    image.end = bytes.length;
    if (image.end - image.start > ROW_BYTES_MAX) {
      bytes.length = image.start;
      image.count = 0;
      return image;
    }
    this.hash.update(bytes.bytes, bytes.view, image.start, image.end, state.seed);
    image.hashLo = this.hash.lo;
    image.hashHi = this.hash.hi;
    return image;
  }

  private countTooLarge(image: RowImage): void {
    if (image.end - image.start > ROW_BYTES_MAX) this.tooLarge++;
  }

  private keepKeyOnly(image: RowImage): void {
    this.arena.bytes.length = image.start + image.keyBytes;
  }

  private removeFrom(bucket: BucketState, op: number, image: RowImage): void {
    bucket.ops.push(op);
    bucket.rows--;
    bucket.checksum.subtract(image.hashLo, image.hashHi);
  }

  private areEqualImages(a: RowImage, b: RowImage): boolean {
    const length = a.end - a.start;
    if (length !== b.end - b.start || a.hashLo !== b.hashLo || a.hashHi !== b.hashHi) return false;
    return this.arena.areEqual(a.start, b.start, length);
  }
}

function isIn(bucket: BucketState, image: RowImage): boolean {
  for (let i = 0; i < image.count; i++) if (image.buckets[i] === bucket) return true;
  return false;
}

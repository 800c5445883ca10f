import { type BucketRef, bucketIdOf, type StreamRecord } from '@sluice/bucket-store';
import { type BucketId, type ByteWriter, Hash64, type Lsn, tableSeed } from '@sluice/domain';
import { OP_PUT, OP_REMOVE, ROW_BYTES_MAX } from '@sluice/protocol';
import type { BoundStream, StreamPlan, TupleSlotsLike } from '@sluice/sync-rules';
import { BucketOps, type ChunkPlace, type OpBody } from './bucket-ops.ts';
import type { FrameWriter } from './frame-writer.ts';

/** Bound of the bucket ids that one stream remembers; forgetting costs a SHA-256 each. */
const REMEMBERED_BUCKETS_MAX = 100_000;
/** A key's hash in a directory is over the key's bytes alone. */
const KEY_SEED = 0;

/** The place of the change being evaluated. */
export interface ChangePlace {
  lsnDelta: number;
  seq: number;
}

/** One image of a row as this stream sees it: its bytes, its hash, and the buckets that it is in. */
class Image {
  readonly disjuncts: number[] = [];
  readonly keys: string[] = [];
  start = 0;
  end = 0;
  keyBytes = 0;
  readonly hash = new Hash64();
  readonly keyHash = new Hash64();

  get count(): number {
    return this.keys.length;
  }
  clear(): void {
    this.disjuncts.length = 0;
    this.keys.length = 0;
  }
  has(disjunct: number, key: string): boolean {
    for (let i = 0; i < this.keys.length; i++) if (this.disjuncts[i] === disjunct && this.keys[i] === key) return true;
    return false;
  }
}

/** Turns the row changes of one stream's table into bucket ops (L6, L7); holds the ops of the frame being evaluated. */
export class StreamEvaluator {
  readonly record: StreamRecord;
  readonly plan: StreamPlan;
  /** Rows of the frame that were left out for their size. */
  rowsTooLarge = 0;
  readonly #seed: number;
  readonly #idsByDisjunct: Map<string, BucketId>[];
  #opsByDisjunct: Map<string, BucketOps>[];
  readonly #old = new Image();
  readonly #new = new Image();
  #filling = this.#old;
  readonly #visit = (disjunct: number, key: string): void => {
    this.#filling.disjuncts.push(disjunct);
    this.#filling.keys.push(key);
  };
  readonly #op: OpBody = { kind: OP_PUT, start: 0, end: 0, keyBytes: 0, hashLo: 0, hashHi: 0, lsnDelta: 0, seq: 0 };

  constructor(record: StreamRecord, plan: StreamPlan) {
    this.record = record;
    this.plan = plan;
    this.#seed = tableSeed(plan.table.name);
    this.#idsByDisjunct = plan.buckets.map(() => new Map());
    this.#opsByDisjunct = plan.buckets.map(() => new Map());
  }

  /** Forgets the frame's ops so far: at its end, and when the table is truncated within it. */
  reset(): void {
    this.#opsByDisjunct = this.#opsByDisjunct.map((ops) => (ops.size === 0 ? ops : new Map()));
  }

  /** Evaluates one change; an insert has no old image, a delete no new one. */
  change(
    bound: BoundStream,
    src: Uint8Array,
    old: TupleSlotsLike | undefined,
    fresh: TupleSlotsLike | undefined,
    place: ChangePlace,
    bodies: ByteWriter,
  ): void {
    const was = this.#read(this.#old, bound, src, old);
    const is = this.#read(this.#new, bound, src, fresh);
    if (was.count === 0 && is.count === 0) return;
    const mark = bodies.length;
    if (old && was.count > 0) this.#encode(was, bound, src, old, bodies, false);
    if (fresh && is.count > 0) this.#encode(is, bound, src, fresh, bodies, true);
    if (was.count === is.count && was.count > 0 && isUnchanged(was, is, bodies.bytes)) {
      bodies.length = mark;
      return;
    }
    this.#emit(was, is, place, bodies);
  }

  #read(image: Image, bound: BoundStream, src: Uint8Array, slots: TupleSlotsLike | undefined): Image {
    image.clear();
    if (slots) {
      this.#filling = image;
      bound.bucketKeys(src, slots, this.#visit);
    }
    return image;
  }

  /** Whether a row is left out for its size depends on its image alone, so its old image is left out as well (L6). */
  #encode(
    image: Image,
    bound: BoundStream,
    src: Uint8Array,
    slots: TupleSlotsLike,
    bodies: ByteWriter,
    counts: boolean,
  ): void {
    image.start = bodies.length;
    image.keyBytes = bound.encodeRow(src, slots, bodies);
    image.end = bodies.length;
    if (image.end - image.start > ROW_BYTES_MAX) {
      if (counts) this.rowsTooLarge++;
      image.clear();
      bodies.length = image.start;
      return;
    }
    image.hash.update(bodies.bytes, bodies.view, image.start, image.end, this.#seed);
    image.keyHash.update(bodies.bytes, bodies.view, image.start, image.start + image.keyBytes, KEY_SEED);
  }

  #emit(was: Image, is: Image, place: ChangePlace, bodies: ByteWriter): void {
    const op = this.#op;
    op.lsnDelta = place.lsnDelta;
    op.seq = place.seq;
    const isKeyKept = was.count > 0 && is.count > 0 && isSameKey(was, is, bodies.bytes);
    for (let i = 0; i < was.count; i++) {
      const disjunct = was.disjuncts[i] as number;
      const key = was.keys[i] as string;
      const ops = this.#opsOf(disjunct, key);
      ops.checksum.subtract(was.hash.lo, was.hash.hi);
      ops.rowsDelta--;
      if (isKeyKept && is.has(disjunct, key)) continue;
      op.kind = OP_REMOVE;
      op.start = was.start;
      op.keyBytes = was.keyBytes;
      op.end = was.start + was.keyBytes;
      op.hashLo = was.keyHash.lo;
      op.hashHi = was.keyHash.hi;
      ops.add(op, bodies.bytes);
    }
    // A change of the key is a remove, then a put: the put comes later within the change (L1).
    if (was.count > 0) op.seq = place.seq + 1;
    for (let i = 0; i < is.count; i++) {
      const ops = this.#opsOf(is.disjuncts[i] as number, is.keys[i] as string);
      ops.checksum.add(is.hash.lo, is.hash.hi);
      ops.rowsDelta++;
      op.kind = OP_PUT;
      op.start = is.start;
      op.keyBytes = is.keyBytes;
      op.end = is.end;
      op.hashLo = is.keyHash.lo;
      op.hashHi = is.keyHash.hi;
      ops.add(op, bodies.bytes);
    }
  }

  #opsOf(disjunct: number, key: string): BucketOps {
    const byKey = this.#opsByDisjunct[disjunct] as Map<string, BucketOps>;
    let ops = byKey.get(key);
    if (!ops) {
      ops = new BucketOps(this.record.stream, this.#bucketId(disjunct, key));
      byKey.set(key, ops);
    }
    return ops;
  }

  #bucketId(disjunct: number, key: string): BucketId {
    const ids = this.#idsByDisjunct[disjunct] as Map<string, BucketId>;
    let id = ids.get(key);
    if (id === undefined) {
      if (ids.size >= REMEMBERED_BUCKETS_MAX) ids.clear();
      id = bucketIdOf(this.record.stream, disjunct, key);
      ids.set(key, id);
    }
    return id;
  }

  /** Writes the frame's chunks and forgets its ops. */
  finish(writer: FrameWriter, baseLsn: Lsn, into: ChunkPlace[], buckets: BucketRef[]): void {
    for (const byKey of this.#opsByDisjunct)
      for (const ops of byKey.values()) {
        into.push(...ops.finish(writer, baseLsn));
        buckets.push({ stream: ops.stream, bucket: ops.bucket });
      }
    this.reset();
  }
}

function isSameKey(a: Image, b: Image, bytes: Uint8Array): boolean {
  if (a.keyBytes !== b.keyBytes || a.keyHash.lo !== b.keyHash.lo || a.keyHash.hi !== b.keyHash.hi) return false;
  for (let i = 0; i < a.keyBytes; i++) if (bytes[a.start + i] !== bytes[b.start + i]) return false;
  return true;
}

/** L7: an update that changes nothing of what is synced is dropped. */
function isUnchanged(was: Image, is: Image, bytes: Uint8Array): boolean {
  const length = is.end - is.start;
  if (was.end - was.start !== length || was.hash.lo !== is.hash.lo || was.hash.hi !== is.hash.hi) return false;
  for (let i = 0; i < is.count; i++) if (!was.has(is.disjuncts[i] as number, is.keys[i] as string)) return false;
  for (let i = 0; i < length; i++) if (bytes[was.start + i] !== bytes[is.start + i]) return false;
  return true;
}

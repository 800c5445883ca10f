import type { BucketRef, BucketTotals } from '@sluice/bucket-store';
import type { BucketId, Lsn } from '@sluice/domain';
import { assert } from '@sluice/errors';

/** Changes remembered per bucket; older ones only cost a cache miss. */
const STEPS_MAX = 64;
const NUMBER_SPACE = 2 ** 28;
/** Buckets that nobody holds just now and that stay known: who comes back finds what was encoded for it. */
const IDLE_MAX = 10_000;

/** A bucket that some session holds. */
export interface KnownBucket extends BucketRef {
  /** What messages call the bucket: the same for every session of the project, so that all share one encoding. */
  readonly no: number;
  holders: number;
  /** From here on, every change is in `changes`. */
  knownFrom: Lsn;
  /** LSNs of checkpoints that changed the bucket, ascending. */
  readonly changes: Lsn[];
  /** The newest totals that were computed, and the version they belong to. */
  totals: { readonly version: Lsn; readonly value: BucketTotals } | undefined;
}

/** The buckets of one project that sessions hold or held a while ago, with when each of them changed. */
export class BucketRegistry {
  private readonly bucketById = new Map<BucketId, KnownBucket>();
  private readonly numbers = new Set<number>();
  /** Without holders; the one that has been so for longest comes first. */
  private readonly idle = new Set<BucketId>();

  /** Buckets that sessions hold. */
  get size(): number {
    return this.bucketById.size - this.idle.size;
  }

  get(bucket: BucketId): KnownBucket {
    const known = this.bucketById.get(bucket);
    assert(known, 'a bucket is read by a session that does not hold it');
    return known;
  }

  /** @param asOf the project's newest checkpoint: changes are known from there on. */
  retain(ref: BucketRef, asOf: Lsn): void {
    const known = this.bucketById.get(ref.bucket);
    if (known) {
      known.holders++;
      this.idle.delete(ref.bucket);
    } else {
      const fresh = { no: this.takeNumber(ref.bucket), holders: 1, knownFrom: asOf, changes: [], totals: undefined };
      this.bucketById.set(ref.bucket, { stream: ref.stream, bucket: ref.bucket, ...fresh });
    }
  }

  release(bucket: BucketId): void {
    const known = this.get(bucket);
    known.holders--;
    if (known.holders > 0) return;
    this.idle.add(bucket);
    const [oldest] = this.idle;
    if (this.idle.size > IDLE_MAX && oldest !== undefined) this.forget(oldest);
  }

  private forget(bucket: BucketId): void {
    this.idle.delete(bucket);
    this.numbers.delete(this.get(bucket).no);
    this.bucketById.delete(bucket);
  }

  recordChange(bucket: BucketId, lsn: Lsn): void {
    const known = this.bucketById.get(bucket);
    if (!known) return;
    known.changes.push(lsn);
    if (known.changes.length <= STEPS_MAX) return;
    known.knownFrom = known.changes.shift() ?? known.knownFrom;
  }

  /** Changes up to `lsn` may have been missed, or are not listed: what is known begins anew there. */
  forgetChanges(lsn: Lsn): void {
    for (const known of this.bucketById.values()) forgetBefore(known, lsn);
  }
  forgetChangesOf(isMeant: (bucket: KnownBucket) => boolean, lsn: Lsn): void {
    for (const known of this.bucketById.values()) if (isMeant(known)) forgetBefore(known, lsn);
  }

  /** From the id, which the client knows anyway: a counter would tell it how busy others are. */
  private takeNumber(bucket: BucketId): number {
    let no = Number.parseInt(bucket.slice(0, 7), 16);
    while (this.numbers.has(no)) no = (no + 1) % NUMBER_SPACE;
    this.numbers.add(no);
    return no;
  }
}

function forgetBefore(known: KnownBucket, lsn: Lsn): void {
  known.knownFrom = lsn;
  known.changes.length = 0;
  known.totals = undefined;
}

/** The checkpoint that last changed the bucket at or before `lsn`: states of equal version are equal. */
export function versionAt(bucket: KnownBucket, lsn: Lsn): Lsn {
  if (lsn < bucket.knownFrom) return lsn;
  for (let i = bucket.changes.length - 1; i >= 0; i--) {
    const change = bucket.changes[i] as Lsn;
    if (change <= lsn) return change;
  }
  return bucket.knownFrom;
}

import { bucketIdOf, type StreamRecord } from '@sluice/bucket-store';
import { type BucketId, Checksum, type Lsn, type StreamNo, tableSeed } from '@sluice/domain';
import { assert } from '@sluice/errors';
import { PLAN_VERSION, type StreamPlan } from '@sluice/sync-rules';

/** A bucket, and what the frame at hand does to it. */
export class BucketState {
  readonly id: BucketId;
  /** The frame that the fields below are of. */
  frame = 0;
  /** Indices into the frame's OpArena, oldest first. */
  readonly ops: number[] = [];
  /** Live rows gained (L9). */
  rows = 0;
  /** Hashes of rows that came minus rows that went (L9). */
  readonly checksum = new Checksum();

  constructor(id: BucketId) {
    this.id = id;
  }

  clear(): void {
    this.ops.length = 0;
    this.rows = 0;
    this.checksum.reset();
  }
}

/** Bucket ids remembered per stream; past it they are hashed again. */
const BUCKETS_REMEMBERED_MAX = 100_000;

/** One stream generation as the evaluator sees it, and what the frame at hand does to it. */
export class StreamState {
  readonly stream: StreamNo;
  readonly plan: StreamPlan;
  readonly activatedAt: Lsn;
  /** Its copy is not complete: rows may be in it that are not known here (L10). */
  readonly isLoading: boolean;
  /** Where its copy is read; undefined until that is known. */
  readonly backfillPoint: Lsn | undefined;
  /** Separates equal rows of different client tables in the checksum. */
  readonly seed: number;
  /** Whether rows of the transaction at hand are evaluated for this stream (L1, L11). */
  isActive = false;
  /** Buckets that the frame at hand has met, in that order. */
  readonly met: BucketState[] = [];
  private frame = 0;
  private remembered = 0;
  private readonly byKeyOfDisjunct: Map<string, BucketState>[];

  constructor(record: StreamRecord) {
    this.stream = record.stream;
    this.plan = planFromRecord(record);
    this.activatedAt = record.activatedAt;
    this.isLoading = record.visibleAfter === undefined;
    this.backfillPoint = record.backfillPoint;
    this.seed = tableSeed(this.plan.table.name);
    this.byKeyOfDisjunct = this.plan.buckets.map(() => new Map());
  }

  /** Begins a frame; numbers of frames never come again. */
  begin(frame: number): void {
    this.frame = frame;
    this.met.length = 0;
    this.isActive = false;
    if (this.remembered <= BUCKETS_REMEMBERED_MAX) return;
    for (const byKey of this.byKeyOfDisjunct) byKey.clear();
    this.remembered = 0;
  }

  /** The bucket of a disjunct's parameters, ready for ops of this frame. */
  bucket(disjunct: number, key: string): BucketState {
    const byKey = this.byKeyOfDisjunct[disjunct];
    assert(byKey, 'a disjunct is one of the plan');
    const bucket = byKey.get(key) ?? this.remember(byKey, disjunct, key);
    if (bucket.frame !== this.frame) {
      bucket.frame = this.frame;
      bucket.clear();
      this.met.push(bucket);
    }
    return bucket;
  }

  /** Forgets what the frame did to the stream's buckets so far, as after a TRUNCATE. */
  clearOps(): void {
    for (const bucket of this.met) bucket.clear();
  }

  private remember(byKey: Map<string, BucketState>, disjunct: number, key: string): BucketState {
    const bucket = new BucketState(bucketIdOf(this.stream, disjunct, key));
    byKey.set(key, bucket);
    this.remembered++;
    return bucket;
  }
}

/** The store keeps plans as JSON; their form is told by their version. */
function planFromRecord(record: StreamRecord): StreamPlan {
  const plan = record.plan as Partial<StreamPlan> | null;
  assert(plan?.version === PLAN_VERSION, 'a stream of another plan version is compiled again before it is evaluated');
  // Proof: the compiler wrote it in this version's form, and the content hash names it.
  return plan as StreamPlan;
}

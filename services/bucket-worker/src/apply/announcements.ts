import type { FrameCommit } from '@sluice/bucket-store';
import {
  type BucketId,
  type Checkpoint,
  comparePositions,
  isBarrier,
  type LookupId,
  type Lsn,
  type Position,
  type ProjectId,
  type StreamNo,
} from '@sluice/domain';
import type { WakeUp, WakeUps } from '@sluice/op-queue';
import type { FrameResult } from './evaluate-frame.ts';

/** Names of one kind in one wake-up; when more changed, everybody looks at everything. */
const NAMES_MAX = 10_000;

export type ReachedCheckpoint = Pick<
  Extract<WakeUp, { kind: 'checkpoint' }>,
  'checkpoint' | 'previousLsn' | 'shards' | 'inUse'
>;

/**
 * Collects what a shard's frames changed and tells it, with the stretch of the stream for which nothing is missing. What
 * another worker applied, or this one before it was started anew, is not known: then a stretch begins behind it, and who was
 * further back looks at everything.
 */
export class Announcements {
  private readonly project: ProjectId;
  private readonly shard: number;
  private readonly wakeUps: WakeUps;
  private readonly buckets = new Set<BucketId>();
  private readonly lookups = new Set<LookupId>();
  private readonly truncated = new Set<StreamNo>();
  /** The names are those of (from, upTo]. */
  private from = 0n as Lsn;
  private upTo: Position | undefined;

  constructor(of: { readonly project: ProjectId; readonly shard: number; readonly wakeUps: WakeUps }) {
    this.project = of.project;
    this.shard = of.shard;
    this.wakeUps = of.wakeUps;
  }

  /** Adds what a commit changes. Must be called before the result is released. */
  collect({ appliedBefore: before, end }: FrameCommit, result: FrameResult): void {
    if (this.upTo === undefined || comparePositions(before, this.upTo) !== 0) {
      // Inside a transaction its beginning is missing.
      this.clear(isBarrier(before) ? before.lsn : end.lsn);
      this.upTo = before;
    }
    for (const { bucket } of result.chunks) this.buckets.add(bucket);
    for (const { lookup } of result.memberships) this.lookups.add(lookup);
    for (const { stream } of result.truncates) this.truncated.add(stream);
    if (this.buckets.size > NAMES_MAX || this.lookups.size > NAMES_MAX) this.clear(end.lsn);
  }

  /** The frame that was collected last is applied. */
  applied(end: Position): void {
    this.upTo = end;
  }

  /** Of several shards each tells its part, before the store has it: whoever completes the checkpoint knows only its own. */
  tellPart(epoch: Checkpoint['epoch'], through: Lsn): void {
    const { project, shard, from: after } = this;
    this.wakeUps.publish({ kind: 'changed', project, epoch, shard, after, through, ...this.names() });
  }
  /** The part that was told is applied. */
  partApplied(through: Lsn): void {
    this.clear(through);
  }

  /** Tells a checkpoint that every shard has reached; of a single shard with everything that changed. */
  checkpoint({ checkpoint, previousLsn, shards, inUse }: ReachedCheckpoint): void {
    const { project } = this;
    if (shards > 1) {
      const none = { buckets: [], lookups: [], truncated: [] };
      this.wakeUps.publish({ kind: 'checkpoint', project, checkpoint, previousLsn, shards, inUse, ...none });
      return;
    }
    const since = this.from > previousLsn ? this.from : previousLsn;
    this.wakeUps.publish({
      kind: 'checkpoint',
      project,
      checkpoint,
      previousLsn: since,
      shards,
      inUse,
      ...this.names(),
    });
    this.clear(checkpoint.lsn);
  }

  private names(): { buckets: BucketId[]; lookups: LookupId[]; truncated: StreamNo[] } {
    return { buckets: [...this.buckets], lookups: [...this.lookups], truncated: [...this.truncated] };
  }

  private clear(from: Lsn): void {
    this.buckets.clear();
    this.lookups.clear();
    this.truncated.clear();
    this.from = from;
  }
}

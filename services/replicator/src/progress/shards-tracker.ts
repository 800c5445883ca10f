import type { ShardRecord } from '@sluice/bucket-store';
import { type Lsn, lsnFromBigint, type Position } from '@sluice/domain';
import { AppliedTracker, type TrackerStart } from './applied-tracker.ts';
import { startPointOfShard } from './start-point.ts';

const ZERO = lsnFromBigint(0n);

/** What of the published is durable in every shard: the source is told the least of what the shards would tell it (L2). */
export class ShardsTracker {
  private shards: AppliedTracker[];

  constructor(shards: readonly ShardRecord[]) {
    this.shards = shards.map((shard) => new AppliedTracker(trackerStart(shard)));
  }

  get confirmed(): Lsn {
    return this.shards.map(({ confirmed }) => confirmed).reduce((a, b) => (b < a ? b : a));
  }
  /** Of the shard that has most. */
  get framesInFlight(): number {
    let most = 0;
    for (const { framesInFlight } of this.shards) if (framesInFlight > most) most = framesInFlight;
    return most;
  }

  /** By shard: the end of the last frame that was published and is not durable. */
  get awaited(): readonly (Position | undefined)[] {
    return this.shards.map(({ awaited }) => awaited);
  }

  published(shard: number, end: Position, endLsn: Lsn): void {
    this.shards[shard]?.published(end, endLsn);
  }
  /** The store holds everything of the shard up to `position`. */
  moved(shard: number, position: Position): void {
    this.shards[shard]?.moved(position);
  }

  /** Resolves when the barrier of `lsn` or a later one is durable in every shard, or when aborted. */
  async reached(lsn: Lsn, signal: AbortSignal): Promise<void> {
    // A shard that is added meanwhile begins at a barrier that all have applied.
    await Promise.all(this.shards.map((shard) => shard.reached(lsn, signal)));
  }

  /** The stream starts again at what is durable, or under another shard map: what was in flight is forgotten. */
  restart(shards: readonly ShardRecord[]): void {
    const before = this.shards;
    this.shards = shards.map((shard, i) => {
      const tracker = before[i] ?? new AppliedTracker(trackerStart(shard));
      tracker.restart(trackerStart(shard));
      return tracker;
    });
    // Who waits for a shard that is no more waits for what the others have.
    for (const tracker of before.slice(shards.length)) {
      const [first] = shards;
      if (first) tracker.moved(first.applied);
    }
  }
}

function trackerStart(shard: ShardRecord): TrackerStart {
  const start = startPointOfShard(shard);
  return {
    applied: shard.applied,
    barrierEndLsn: start.mustRepeat ? shard.barrier.endLsn : ZERO,
    previousBarrierEndLsn: start.confirmedMax ?? ZERO,
  };
}

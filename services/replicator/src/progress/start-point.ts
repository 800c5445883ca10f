import type { ShardRecord } from '@sluice/bucket-store';
import { type Lsn, lsnFromBigint } from '@sluice/domain';
import { assert } from '@sluice/errors';

/** WAL records begin at multiples of this; the position before an epoch's consistent point is none. */
const WAL_ALIGNMENT = 8n;
const ZERO = lsnFromBigint(0n);

/** From where an epoch's stream goes on, and what must be seen there. */
export interface StartPoint {
  /** Commits up to here are durable. */
  readonly applied: Lsn;
  /** L2: the commit at `applied` must come again first. False for an epoch that has no durable commit. */
  readonly mustRepeat: boolean;
  /** Where to ask the server to start. */
  readonly startLsn: Lsn;
  /** The slot must not have been confirmed beyond this; undefined while nothing of the epoch is durable. */
  readonly confirmedMax: Lsn | undefined;
}

/**
 * Works out where the stream of all shards starts: the commits up to the least of their barriers are durable in each, and the
 * slot was never confirmed beyond what the last of them allowed. Shards that are ahead skip what they have (L3).
 */
export function startPointOf(shards: readonly ShardRecord[]): StartPoint {
  const points = shards.map(startPointOfShard);
  const [first] = points;
  assert(first, 'an epoch that is followed has a shard');
  return points.reduce((a, b) => ({
    ...(b.applied < a.applied
      ? { applied: b.applied, mustRepeat: b.mustRepeat }
      : { applied: a.applied, mustRepeat: a.mustRepeat }),
    startLsn: b.startLsn < a.startLsn ? b.startLsn : a.startLsn,
    confirmedMax: leastOf(a.confirmedMax, b.confirmedMax),
  }));
}

/** Undefined when either is. */
function leastOf(a: Lsn | undefined, b: Lsn | undefined): Lsn | undefined {
  if (a === undefined || b === undefined) return undefined;
  return b < a ? b : a;
}

/** As startPointOf, for one shard. */
export function startPointOfShard(shard: ShardRecord): StartPoint {
  const mustRepeat = isCommitLsn(shard.barrier.lsn);
  const previous = shard.previousBarrierEndLsn;
  const hasPrevious = mustRepeat && isCommitLsn(previous);
  return {
    applied: shard.barrier.lsn,
    mustRepeat,
    startLsn: hasPrevious ? previous : ZERO,
    confirmedMax: hasPrevious ? previous : undefined,
  };
}

function isCommitLsn(lsn: Lsn): boolean {
  return lsn > ZERO && lsn % WAL_ALIGNMENT === 0n;
}

import type { ShardRecord } from '@sluice/bucket-store';
import { type Lsn, lsnFromBigint } from '@sluice/domain';

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

/** Works out where a shard's stream starts from what the store holds. */
export function startPointOf(shard: ShardRecord): StartPoint {
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

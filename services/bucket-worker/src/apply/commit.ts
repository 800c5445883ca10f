import type { FrameCommit, RowStateChange, SnapshotCommit } from '@sluice/bucket-store';
import type { Lsn, Position, ShardLeaseToken, StreamNo } from '@sluice/domain';
import { isAppError } from '@sluice/errors';
import type { SnapshotFrame, StreamFrame } from '@sluice/op-queue';
import type { FrameResult } from './evaluate-frame.ts';
import { stateWrites } from './row-state/frame-states.ts';

/** The store's transaction for a frame that was evaluated for `streams` from position `before` on. */
export function frameCommit(
  frame: StreamFrame,
  shardLeaseToken: ShardLeaseToken,
  evaluated: { readonly streams: readonly StreamNo[]; readonly before: Position; readonly result: FrameResult },
): FrameCommit {
  const { project, epoch, shard, mapVersion, leaseToken, prev, committedAtMs } = frame;
  const { chunks, memberships, truncates, issues, end: pieceEnd } = evaluated.result;
  return {
    project,
    epoch,
    shard,
    mapVersion,
    leaseToken,
    shardLeaseToken,
    prev,
    end: pieceEnd ?? frame.end,
    endLsn: pieceEnd ? INSIDE : frame.endLsn,
    committedAtMs,
    appliedBefore: evaluated.before,
    streams: evaluated.streams,
    chunks,
    memberships,
    truncates,
    issues,
    rowStates: rowStatesOf(evaluated.result),
  };
}
/** The end LSN of what ends inside a transaction. */
const INSIDE = 0n as Lsn;

function rowStatesOf({ rowStates }: FrameResult): RowStateChange | undefined {
  return rowStates && { revision: rowStates.revision, writes: stateWrites(rowStates.changes) };
}

/** As frameCommit, for a part of a copy. */
export function snapshotCommit(
  frame: SnapshotFrame,
  shardLeaseToken: ShardLeaseToken,
  { before: appliedBefore, result }: { readonly before: Position; readonly result: FrameResult },
): SnapshotCommit {
  const { project, epoch, leaseToken, shard, streams, pointLsn, part, last } = frame;
  const { chunks, memberships, issues } = result;
  const held = { leaseToken, shard, shardLeaseToken };
  const table = `${frame.schema}.${frame.table}`;
  const states = rowStatesOf(result);
  const rowStates = states && { ...states, appliedBefore };
  return { project, epoch, ...held, streams, pointLsn, table, part, last, chunks, memberships, issues, rowStates };
}

/**
 * The store's answer, being fenced by a new holder of the source included: that is the end of a frame. A worker that lost its
 * shard ends instead, and leaves the frame to the next one.
 */
export async function commitOutcome<T>(answer: Promise<T>): Promise<T | { readonly kind: 'fenced' }> {
  try {
    return await answer;
  } catch (error) {
    if (isAppError(error, 'STORE_FENCED') && error.details.lease !== 'shard') return { kind: 'fenced' };
    throw error;
  }
}

import type { FrameCommit, SnapshotCommit } from '@sluice/bucket-store';
import type { Position, ShardLeaseToken, StreamNo } from '@sluice/domain';
import { isAppError } from '@sluice/errors';
import type { SnapshotFrame, StreamFrame } from '@sluice/op-queue';
import type { FrameResult } from './evaluate-frame.ts';

/** The store's transaction for a frame that was evaluated for `streams` from position `before` on. */
export function frameCommit(
  frame: StreamFrame,
  shardLeaseToken: ShardLeaseToken,
  evaluated: { readonly streams: readonly StreamNo[]; readonly before: Position; readonly result: FrameResult },
): FrameCommit {
  const { project, epoch, shard, mapVersion, leaseToken, prev, end, endLsn, committedAtMs } = frame;
  const { chunks, memberships, truncates, issues } = evaluated.result;
  return {
    project,
    epoch,
    shard,
    mapVersion,
    leaseToken,
    shardLeaseToken,
    prev,
    end,
    endLsn,
    committedAtMs,
    appliedBefore: evaluated.before,
    streams: evaluated.streams,
    chunks,
    memberships,
    truncates,
    issues,
  };
}

/** As frameCommit, for a part of a copy. */
export function snapshotCommit(
  frame: SnapshotFrame,
  shardLeaseToken: ShardLeaseToken,
  result: FrameResult,
): SnapshotCommit {
  const { project, epoch, leaseToken, shard, streams, pointLsn, part, last } = frame;
  const { chunks, memberships, issues } = result;
  const held = { leaseToken, shard, shardLeaseToken };
  const table = `${frame.schema}.${frame.table}`;
  return { project, epoch, ...held, streams, pointLsn, table, part, last, chunks, memberships, issues };
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

import type { FrameCommit, SnapshotCommit } from '@sluice/bucket-store';
import type { Position, StreamNo } from '@sluice/domain';
import { isAppError } from '@sluice/errors';
import type { SnapshotFrame, StreamFrame } from '@sluice/op-queue';
import type { FrameResult } from './evaluate-frame.ts';

/** The store's transaction for a frame that was evaluated for `streams` from position `before` on. */
export function frameCommit(
  frame: StreamFrame,
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
export function snapshotCommit(frame: SnapshotFrame, result: FrameResult): SnapshotCommit {
  const { project, epoch, leaseToken, streams, pointLsn, part, last } = frame;
  const { chunks, memberships, issues } = result;
  const table = `${frame.schema}.${frame.table}`;
  return { project, epoch, leaseToken, streams, pointLsn, table, part, last, chunks, memberships, issues };
}

/** The store's answer, being fenced included: that is the end of a frame, not of the worker. */
export async function commitOutcome<T>(answer: Promise<T>): Promise<T | { readonly kind: 'fenced' }> {
  try {
    return await answer;
  } catch (error) {
    if (isAppError(error, 'STORE_FENCED')) return { kind: 'fenced' };
    throw error;
  }
}

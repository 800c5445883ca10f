import { comparePositions, type StreamNo } from '@sluice/domain';
import { assert } from '@sluice/errors';
import {
  type ChunkWrite,
  type CopyPlan,
  type FrameCommit,
  type MembershipWrite,
  RANGES_MAX,
  type SnapshotCommit,
} from './port.ts';

/** What every adapter asks of a frame's commit before it begins; a failure is the caller's bug. */
export function checkFrameCommit(commit: FrameCommit): void {
  assert(comparePositions(commit.prev, commit.end) < 0, 'a frame ends beyond where it begins');
  checkOps(commit.streams, commit.chunks, commit.memberships);
}
/** What every adapter asks of a copy's plan. */
export function checkCopyPlan(plan: CopyPlan): void {
  const { ranges } = plan;
  assert(ranges.length > 0 && ranges.length <= RANGES_MAX, 'a copy has some ranges, and not too many');
}

/** As checkFrameCommit, for a part of a copy. */
export function checkSnapshotCommit(commit: SnapshotCommit): void {
  assert(commit.streams.length > 0 && commit.part >= 0, 'a part of a copy is for some stream');
  checkOps(commit.streams, commit.chunks, commit.memberships);
}

const idPattern = /^[0-9a-f]{32}$/;

function checkOps(
  streams: readonly StreamNo[],
  chunks: readonly ChunkWrite[],
  memberships: readonly MembershipWrite[],
): void {
  const known = new Set(streams);
  for (const chunk of chunks) {
    assert(known.has(chunk.stream), 'a chunk belongs to a stream that the commit was evaluated for');
    assert(idPattern.test(chunk.bucket), 'a bucket id is 16 bytes in lower-case hex');
  }
  for (const member of memberships) {
    assert(known.has(member.stream), 'a membership op belongs to a stream that the commit was evaluated for');
    assert(idPattern.test(member.lookup), 'a lookup id is 16 bytes in lower-case hex');
  }
}

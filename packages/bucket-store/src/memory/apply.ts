import {
  type Checkpoint,
  comparePositions,
  isBarrier,
  type Lsn,
  POSITION_ZERO,
  SEQ_SNAPSHOT,
  type ShardLeaseToken,
  type StreamNo,
} from '@sluice/domain';
import { AppError, InvariantError } from '@sluice/errors';
import {
  type ApplyOutcome,
  type ChunkWrite,
  type CopyRangeRecord,
  type FrameCommit,
  type MembershipWrite,
  PARTS_PER_RANGE,
  type SnapshotCommit,
  type SourceIssue,
  type TruncateWrite,
} from '../port.ts';
import type { Barrier, EpochState, ProjectState, ShardState, StreamState } from './project-state.ts';
import { writeRowStates } from './row-states.ts';
import { isShardLeaseCurrent } from './shard-leases.ts';

/** As `sluice_store.apply_frame` (0004 and 0008), which says why. */
export function applyFrame(project: ProjectState | undefined, commit: FrameCommit): ApplyOutcome {
  const epoch = project?.epochs.get(commit.epoch);
  const shard = epoch?.shards.find((candidate) => candidate.shard === commit.shard);
  const isHeld = project?.leaseToken === commit.leaseToken && epoch?.mapVersion === commit.mapVersion;
  if (!project || !epoch || !shard || !isHeld) throw new AppError('STORE_FENCED', { internal: 'apply frame' });
  assertShardLease(project, commit, 'apply frame');

  const { applied } = shard;
  if (comparePositions(commit.end, applied) <= 0) return { kind: 'skipped' };
  const isGap = comparePositions(commit.prev, applied) > 0 || comparePositions(commit.appliedBefore, applied) !== 0;
  const isStale = commit.rowStates !== undefined && commit.rowStates.revision !== shard.rowStatesRevision;
  if (isGap || isStale || !areStreamsCurrent(project, commit)) return { kind: 'gap', applied };

  const base = { position: commit.end, part: commit.shard * CHUNKS_PER_PART };
  writeOps(project, base, commit.chunks, commit.memberships);
  for (const truncate of commit.truncates) noteTruncate(streamOf(project, truncate.stream), truncate);
  writeIssues(project, commit.issues);
  writeRowStates(project, commit.rowStates?.writes ?? []);
  shard.applied = commit.end;
  if (!isBarrier(commit.end)) return { kind: 'applied', checkpoint: undefined, previousLsn: POSITION_ZERO.lsn };
  return passBarrier(epoch, shard, commit);
}

function assertShardLease(
  project: ProjectState,
  commit: { readonly shard: number; readonly shardLeaseToken: ShardLeaseToken },
  internal: string,
): void {
  if (isShardLeaseCurrent(project, commit.shard, commit.shardLeaseToken)) return;
  throw new AppError('STORE_FENCED', { internal, details: { lease: 'shard' } });
}

/** Every shard is told of a TRUNCATE, so that none keeps what came before it; it counts once. */
function noteTruncate(stream: StreamState, truncate: TruncateWrite): void {
  const isKnown = stream.truncates.some(
    ({ membership, position }) =>
      membership === truncate.membership && comparePositions(position, truncate.position) === 0,
  );
  if (!isKnown) stream.truncates.push(truncate);
}

function areStreamsCurrent(project: ProjectState, commit: FrameCommit): boolean {
  const evaluated = new Set(commit.streams);
  const inUse = [...project.streams.values()].filter(
    (stream) => stream.epoch === commit.epoch && stream.droppedAfter === undefined,
  );
  const isMissing = inUse.some((stream) => !evaluated.has(stream.stream) && stream.activatedAt < commit.end.lsn);
  const known = inUse.filter((stream) => evaluated.has(stream.stream)).length;
  return !isMissing && known === commit.streams.length;
}

function passBarrier(epoch: EpochState, shard: ShardState, commit: FrameCommit): ApplyOutcome {
  shard.previousBarrierEndLsn = shard.barrier.endLsn;
  shard.barrier = { lsn: commit.end.lsn, endLsn: commit.endLsn };
  shard.barrierCommittedAtMs = commit.committedAtMs;
  const level = levelOf(epoch, shard, { lsn: commit.end.lsn, committedAtMs: commit.committedAtMs });
  const previousLsn = epoch.checkpoint?.lsn ?? POSITION_ZERO.lsn;
  if (epoch.held) return { kind: 'applied', checkpoint: undefined, previousLsn: POSITION_ZERO.lsn };
  if (!level || level.lsn <= previousLsn) return { kind: 'applied', checkpoint: undefined, previousLsn };
  const checkpoint: Checkpoint = { epoch: epoch.epoch, ...level };
  epoch.checkpoint = checkpoint;
  return { kind: 'applied', checkpoint, previousLsn };
}

/** The greatest barrier that all shards have passed, now that one of them has passed `barrier` (L4). */
function levelOf(epoch: EpochState, shard: ShardState, barrier: Barrier): Barrier | undefined {
  if (epoch.shards.length === 1) return barrier;
  const above = epoch.level?.lsn ?? POSITION_ZERO.lsn;
  shard.barriers = [...shard.barriers.filter((lsn) => lsn > above), barrier.lsn];
  const isCommon = epoch.shards.every(({ barriers }) => barriers.includes(barrier.lsn));
  if (isCommon && barrier.lsn > above) epoch.level = barrier;
  return epoch.level;
}

/** As `sluice_store.apply_snapshot_part`. */
export function applySnapshotPart(
  project: ProjectState | undefined,
  commit: SnapshotCommit,
): 'applied' | 'skipped' | 'stale' {
  const streams = commit.streams.map((stream) => project?.streams.get(stream));
  const isHeld = project !== undefined && project.leaseToken === commit.leaseToken;
  if (!isHeld || !streams.every((stream) => isCopied(stream, commit)))
    throw new AppError('STORE_FENCED', { internal: 'apply snapshot part' });
  assertShardLease(project, commit, 'apply snapshot part');
  const copied = streams.filter((stream) => stream !== undefined);

  const applied = copied.filter((stream) => stream.partsByTable.get(commit.table)?.has(commit.part));
  if (applied.length === copied.length) return 'skipped';
  if (applied.length > 0) throw new InvariantError('streams of one copy differ in their parts');
  const range = Math.floor(commit.part / PARTS_PER_RANGE);
  const isDone = (one: CopyRangeRecord): boolean =>
    one.table === commit.table && one.range === range && one.point !== undefined;
  if (copied.some((stream) => stream.ranges.some(isDone))) throw new InvariantError('a range is copied once');
  if (commit.rowStates && !settle(project, copied, commit, commit.rowStates)) return 'stale';

  const base = { position: { lsn: commit.pointLsn, seq: SEQ_SNAPSHOT }, part: commit.part * CHUNKS_PER_PART };
  writeOps(project, base, commit.chunks, commit.memberships);
  writeIssues(project, commit.issues);
  for (const stream of copied) markPart(stream, commit);
  return 'applied';
}
/** Lays the part's states beside the streamed ones; false when these are others than the part was evaluated with. */
function settle(
  project: ProjectState,
  streams: readonly StreamState[],
  commit: SnapshotCommit,
  rowStates: NonNullable<SnapshotCommit['rowStates']>,
): boolean {
  const shard = project.epochs.get(commit.epoch)?.shards.find((candidate) => candidate.shard === commit.shard);
  const isCurrent =
    shard?.rowStatesRevision === rowStates.revision && comparePositions(shard.applied, rowStates.appliedBefore) === 0;
  if (!shard || !isCurrent) return false;
  shard.rowStatesRevision++;
  for (const stream of streams) if (stream.settledLsn < shard.applied.lsn) stream.settledLsn = shard.applied.lsn;
  writeRowStates(project, rowStates.writes);
  return true;
}
/**
 * Chunks of all parts share the position (point, 0), and those of several shards one barrier: a part's, and a shard's, are
 * numbered from its number times this.
 */
const CHUNKS_PER_PART = 2 ** 24;

function isCopied(stream: StreamState | undefined, commit: SnapshotCommit): boolean {
  return (
    stream !== undefined &&
    stream.epoch === commit.epoch &&
    (stream.copyPoint ?? stream.backfillPoint) === commit.pointLsn &&
    stream.visibleAfter === undefined &&
    stream.droppedAfter === undefined &&
    !stream.erasing
  );
}

function markPart(stream: StreamState, commit: SnapshotCommit): void {
  const parts = stream.partsByTable.get(commit.table) ?? new Map<number, { last: boolean }>();
  stream.partsByTable.set(commit.table, parts);
  parts.set(commit.part, { last: commit.last });
  const range = Math.floor(commit.part / PARTS_PER_RANGE);
  const ofRange = [...parts].filter(([part]) => Math.floor(part / PARTS_PER_RANGE) === range);
  const last = ofRange.find(([, part]) => part.last);
  if (!last || ofRange.length !== (last[0] % PARTS_PER_RANGE) + 1) return;
  stream.ranges = stream.ranges.map((one) =>
    one.table === commit.table && one.range === range ? { ...one, point: one.point ?? commit.pointLsn } : one,
  );
  const isLeft = stream.ranges.some((one) => one.table === commit.table && one.point === undefined);
  if (!isLeft && !stream.loadedTables.includes(commit.table)) stream.loadedTables.push(commit.table);
}

function writeOps(
  project: ProjectState,
  base: { position: { lsn: Lsn; seq: number }; part: number },
  chunks: readonly ChunkWrite[],
  memberships: readonly MembershipWrite[],
): void {
  chunks.forEach((chunk, i) => {
    const { chunksByBucket } = streamOf(project, chunk.stream);
    const list = chunksByBucket.get(chunk.bucket) ?? [];
    chunksByBucket.set(chunk.bucket, list);
    // Copies: the caller reuses its buffers.
    const bytes = { directory: chunk.directory.slice(), payload: chunk.payload.slice() };
    list.push({ ...chunk, ...bytes, position: base.position, part: base.part + i });
  });
  for (const member of memberships)
    streamOf(project, member.stream).memberships.push({ ...member, rowKey: member.rowKey.slice() });
}

export function writeIssues(project: ProjectState, issues: readonly SourceIssue[]): void {
  for (const issue of issues) {
    const key = `${issue.code} ${issue.table}`;
    const known = project.issues.get(key);
    // Deleted first, so that the newest stands last.
    project.issues.delete(key);
    project.issues.set(key, { ...issue, count: issue.count + (known?.count ?? 0) });
  }
}

function streamOf(project: ProjectState, stream: StreamNo): StreamState {
  const state = project.streams.get(stream);
  if (!state) throw new InvariantError('an op of an unknown stream');
  return state;
}

/** The greatest barrier that every shard has applied. */
export function appliedBarrierLsn(epoch: EpochState): Lsn {
  return epoch.shards.reduce((a, b) => (b.barrier.lsn < a.barrier.lsn ? b : a)).barrier.lsn;
}

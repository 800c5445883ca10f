import type { Checkpoint, Lsn } from '@sluice/domain';
import { AppError, InvariantError } from '@sluice/errors';
import { checkFrameCommit, checkSnapshotCommit } from '../checks.ts';
import type { ApplyOutcome, FrameCommit, SnapshotCommit } from '../port.ts';
import { int4Array } from './binary-array.ts';
import type { Database } from './database.ts';
import { packIssues, packOps, packTruncates } from './pack-ops.ts';
import { packRowStates } from './row-states.ts';

/**
 * The places of a call's `count` arguments, of which the one at `blobAt`, from 0, is sent last (`blobLast`): the driver gathers
 * parameters in a buffer that is copied whenever it is too small, and whatever follows a large one would make it so.
 */
function places(count: number, blobAt: number): string {
  const place = (at: number): number => (at === blobAt ? count : at < blobAt ? at + 1 : at);
  return Array.from({ length: count }, (_, at) => `$${place(at)}`).join(', ');
}
function blobLast(values: readonly unknown[], blobAt: number): unknown[] {
  return [...values.slice(0, blobAt), ...values.slice(blobAt + 1), values[blobAt]];
}

/** Where `packOps` stands among the arguments of each call, and how many there are more with row states. */
const FRAME_OPS_AT = 15;
const FRAME_STATES = 12;
const PART_OPS_AT = 10;
const PART_STATES = 14;
const APPLY_FRAME = `select outcome, applied_lsn, applied_seq, checkpoint_lsn, checkpoint_committed_at_ms, previous_lsn
  from sluice_store.apply_frame(${places(37, FRAME_OPS_AT)})`;
const APPLY_FRAME_WITH_STATES = `select outcome, applied_lsn, applied_seq, checkpoint_lsn, checkpoint_committed_at_ms,
  previous_lsn from sluice_store.apply_frame_with_states(${places(49, FRAME_OPS_AT + FRAME_STATES)})`;
const APPLY_SNAPSHOT_PART = `select outcome from sluice_store.apply_snapshot_part(${places(28, PART_OPS_AT)})`;
const APPLY_SNAPSHOT_PART_WITH_STATES = `select outcome
  from sluice_store.apply_snapshot_part_with_states(${places(42, PART_OPS_AT + PART_STATES)})`;

interface OutcomeRow {
  outcome: number;
  applied_lsn: string | null;
  applied_seq: string | null;
  checkpoint_lsn: string | null;
  checkpoint_committed_at_ms: string | null;
  previous_lsn: string | null;
}

/** One round trip and one durable commit, whatever the frame holds. */
export async function applyFrame(database: Database, commit: FrameCommit): Promise<ApplyOutcome> {
  checkFrameCommit(commit);
  const { rowStates } = commit;
  const { rows } = await database.query<OutcomeRow>({
    name: rowStates ? 'sluice_apply_frame_with_states' : 'sluice_apply_frame',
    text: rowStates ? APPLY_FRAME_WITH_STATES : APPLY_FRAME,
    values: blobLast(frameArguments(commit), FRAME_OPS_AT + (rowStates ? FRAME_STATES : 0)),
  });
  return outcomeFromRow(rows[0], commit);
}

function frameArguments(commit: FrameCommit): unknown[] {
  const { rowStates } = commit;
  return [
    ...(rowStates ? [rowStates.revision, ...packRowStates(rowStates.writes)] : []),
    commit.project,
    commit.epoch,
    commit.shard,
    commit.mapVersion,
    commit.leaseToken,
    commit.shardLeaseToken,
    commit.prev.lsn,
    commit.prev.seq,
    commit.end.lsn,
    commit.end.seq,
    commit.endLsn,
    commit.committedAtMs,
    commit.appliedBefore.lsn,
    commit.appliedBefore.seq,
    int4Array(commit.streams.length, (i) => commit.streams[i] as number),
    ...packOps(commit.chunks, commit.memberships),
    ...packTruncates(commit.truncates),
    packIssues(commit.issues),
  ];
}

function outcomeFromRow(row: OutcomeRow | undefined, commit: FrameCommit): ApplyOutcome {
  switch (row?.outcome) {
    case 0:
      return {
        kind: 'applied',
        checkpoint: checkpointFromRow(row, commit),
        previousLsn: lsnFromText(row.previous_lsn),
      };
    case 1:
      return { kind: 'skipped' };
    case 2:
      return { kind: 'gap', applied: { lsn: lsnFromText(row.applied_lsn), seq: Number(row.applied_seq) } };
    case 3:
      throw new AppError('STORE_FENCED', { internal: 'apply frame' });
    case 4:
      throw new AppError('STORE_FENCED', { internal: 'apply frame', details: { lease: 'shard' } });
    default:
      throw new InvariantError('apply_frame answered nothing known');
  }
}

function checkpointFromRow(row: OutcomeRow, commit: FrameCommit): Checkpoint | undefined {
  if (row.checkpoint_lsn === null) return undefined;
  const lsn = lsnFromText(row.checkpoint_lsn);
  return { epoch: commit.epoch, lsn, committedAtMs: Number(row.checkpoint_committed_at_ms) };
}

export async function applySnapshotPart(
  database: Database,
  commit: SnapshotCommit,
): Promise<'applied' | 'skipped' | 'stale'> {
  checkSnapshotCommit(commit);
  const { rowStates } = commit;
  const { rows } = await database.query<{ outcome: number }>({
    name: rowStates ? 'sluice_apply_snapshot_part_with_states' : 'sluice_apply_snapshot_part',
    text: rowStates ? APPLY_SNAPSHOT_PART_WITH_STATES : APPLY_SNAPSHOT_PART,
    values: blobLast(partArguments(commit), PART_OPS_AT + (rowStates ? PART_STATES : 0)),
  });
  return partOutcome(rows[0]?.outcome);
}

function partArguments(commit: SnapshotCommit): unknown[] {
  const { rowStates } = commit;
  return [
    ...(rowStates ? [rowStates.appliedBefore.lsn, rowStates.appliedBefore.seq, rowStates.revision] : []),
    ...(rowStates ? packRowStates(rowStates.writes) : []),
    commit.project,
    commit.epoch,
    commit.leaseToken,
    commit.shard,
    commit.shardLeaseToken,
    int4Array(commit.streams.length, (i) => commit.streams[i] as number),
    commit.pointLsn,
    commit.table,
    commit.part,
    commit.last,
    ...packOps(commit.chunks, commit.memberships),
    packIssues(commit.issues),
  ];
}

function partOutcome(outcome: number | undefined): 'applied' | 'skipped' | 'stale' {
  switch (outcome) {
    case 0:
      return 'applied';
    case 1:
      return 'skipped';
    case 2:
      return 'stale';
    case 3:
      throw new AppError('STORE_FENCED', { internal: 'apply snapshot part' });
    case 4:
      throw new AppError('STORE_FENCED', { internal: 'apply snapshot part', details: { lease: 'shard' } });
    default:
      throw new InvariantError('apply_snapshot_part answered nothing known');
  }
}

/** A bigint column, which the driver gives as text. */
export function lsnFromText(text: string | null): Lsn {
  return BigInt(text ?? 0) as Lsn;
}

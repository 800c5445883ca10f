import type { Checkpoint, Lsn } from '@sluice/domain';
import { AppError, InvariantError } from '@sluice/errors';
import { checkFrameCommit, checkSnapshotCommit } from '../checks.ts';
import type { ApplyOutcome, FrameCommit, SnapshotCommit } from '../port.ts';
import { int4Array } from './binary-array.ts';
import type { Database } from './database.ts';
import { packIssues, packOps, packTruncates } from './pack-ops.ts';
import { packRowStates } from './row-states.ts';

const places = (count: number) => Array.from({ length: count }, (_, i) => `$${i + 1}`).join(', ');
const APPLY_FRAME = `select outcome, applied_lsn, applied_seq, checkpoint_lsn, checkpoint_committed_at_ms, previous_lsn
  from sluice_store.apply_frame(${places(37)})`;
const APPLY_FRAME_WITH_STATES = `select outcome, applied_lsn, applied_seq, checkpoint_lsn, checkpoint_committed_at_ms,
  previous_lsn from sluice_store.apply_frame_with_states(${places(49)})`;
const APPLY_SNAPSHOT_PART = `select outcome from sluice_store.apply_snapshot_part(${places(28)})`;
const APPLY_SNAPSHOT_PART_WITH_STATES = `select outcome
  from sluice_store.apply_snapshot_part_with_states(${places(42)})`;

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
    values: [
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
    ],
  });
  return outcomeFromRow(rows[0], commit);
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
    values: [
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
    ],
  });
  switch (rows[0]?.outcome) {
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

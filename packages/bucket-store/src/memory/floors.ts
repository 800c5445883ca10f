import { comparePositions, type Lsn, POSITION_ZERO, type Position, type StreamNo } from '@sluice/domain';
import { AppError } from '@sluice/errors';
import type { ProjectState, StreamState } from './project-state.ts';

/** The position below which a stream's chunks, or the ops of a membership set, are void (as `sluice_store.floors`). */
export function floorOf(stream: StreamState, membership: number | undefined, through: Lsn): Position {
  const point: Position = { lsn: stream.backfillPoint ?? POSITION_ZERO.lsn, seq: 0 };
  return stream.truncates
    .filter((truncate) => truncate.membership === membership && truncate.position.lsn <= through)
    .map((truncate) => truncate.position)
    .reduce((a, b) => (comparePositions(b, a) > 0 ? b : a), point);
}

/** @throws STORE_CHECKPOINT_GONE for a checkpoint below the floors of the stream's epoch */
export function assertUnfolded(
  project: ProjectState | undefined,
  stream: StreamNo,
  at: { after?: Lsn; through?: Lsn },
): void {
  const epoch = project?.streams.get(stream)?.epoch;
  const floors = epoch === undefined ? undefined : project?.compaction.floors.get(epoch);
  if (!floors) return;
  const isFolded =
    (at.through !== undefined && at.through < floors.readLsn) ||
    (at.after !== undefined && at.after < floors.resumeLsn);
  if (isFolded) throw new AppError('STORE_CHECKPOINT_GONE');
}

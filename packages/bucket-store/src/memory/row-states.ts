import { barrierAt, comparePositions, POSITION_ZERO, type Position } from '@sluice/domain';
import { AppError, InvariantError } from '@sluice/errors';
import type { FoundRowState, RowState, RowStatePage, RowStateRequest, RowStateWrite } from '../row-state.ts';
import type { ProjectState, ShardState, StreamState } from './project-state.ts';

/** As `sluice_store.read_row_states` (0009_row_state.sql). */
export function readRowStates(project: ProjectState | undefined, request: RowStateRequest): RowStatePage {
  const epoch = project?.epochs.get(request.epoch);
  const shard = epoch?.shards.find((candidate) => candidate.shard === request.shard);
  if (!project || !shard) throw new AppError('STORE_FENCED', { internal: 'row states of a retired epoch' });
  const { refs, bytesMax } = request;
  const states: FoundRowState[] = [];
  let bytes = 0;
  let answered = 0;
  for (; answered < refs.length; answered++) {
    const found = statesOf(project, request, answered, shard.applied);
    if (found.length > 0 && bytes >= bytesMax) break;
    for (const state of found) bytes += state.image.length;
    states.push(...found);
  }
  return { applied: shard.applied, revision: shard.rowStatesRevision, answered, states };
}

function statesOf(project: ProjectState, request: RowStateRequest, place: number, applied: Position): FoundRowState[] {
  const { withOrigins } = request;
  const ref = request.refs[place];
  const stream = ref && project.streams.get(ref.stream);
  const table = stream?.rowStates.get(ref?.membership);
  if (!ref || !stream || !table) return [];
  const floor = rowStatesFloor(stream, ref.membership, applied);
  const own = table.get(ref.key);
  const moved = withOrigins ? [...table.values()].filter((state) => state.origin === ref.key) : [];
  return [...(own ? [{ state: own, isOrigin: false }] : []), ...moved.map((state) => ({ state, isOrigin: true }))]
    .filter(({ state }) => comparePositions(state.position, floor) >= 0)
    .map(({ state: { kind, position, sinceLsn, origin, image }, isOrigin }) => ({
      ref: place,
      isOrigin,
      kind,
      position,
      sinceLsn,
      origin,
      image,
    }));
}

/**
 * The position below which a table's states are void for a shard that is applied up to `applied`: one that is behind has not
 * come to a TRUNCATE that another has told of.
 */
function rowStatesFloor(stream: StreamState, membership: number | undefined, applied: Position): Position {
  const point: Position = { lsn: stream.backfillPoint ?? POSITION_ZERO.lsn, seq: 0 };
  return stream.truncates
    .filter((truncate) => truncate.membership === membership && comparePositions(truncate.position, applied) <= 0)
    .map((truncate) => truncate.position)
    .reduce((a, b) => (comparePositions(b, a) > 0 ? b : a), point);
}

/** For all shards of the stream's epoch: what is void for the one that is furthest behind. */
function commonFloor(project: ProjectState, stream: StreamState, membership: number | undefined): Position {
  const shards = project.epochs.get(stream.epoch)?.shards ?? [];
  const least = shards
    .map(({ applied }) => applied)
    .reduce((a, b) => (comparePositions(b, a) < 0 ? b : a), POSITION_MAX);
  return rowStatesFloor(stream, membership, least);
}
const POSITION_MAX = barrierAt(0x7fffffffffffffffn as Position['lsn']);

export function writeRowStates(project: ProjectState, writes: readonly RowStateWrite[]): void {
  for (const write of writes) {
    const stream = project.streams.get(write.stream);
    if (!stream) throw new InvariantError('a row state of an unknown stream');
    const table = stream.rowStates.get(write.membership) ?? new Map<string, RowState>();
    stream.rowStates.set(write.membership, table);
    if (write.kind === 'absent') table.delete(write.key);
    else table.set(write.key, { ...write, kind: write.kind, image: write.image.slice() });
  }
}

/** States that nobody reads again: tombstones of visible streams, and what a TRUNCATE voided. Gives what is left of the bound. */
export function pruneRowStates(project: ProjectState, stream: StreamState, rowsMax: number): number {
  let left = rowsMax;
  for (const [membership, table] of stream.rowStates) {
    const floor = commonFloor(project, stream, membership);
    for (const [key, state] of table) {
      const isUseless = state.kind === 'gone' && stream.visibleAfter !== undefined;
      if (left <= 0 || !(isUseless || comparePositions(state.position, floor) < 0)) continue;
      table.delete(key);
      left--;
    }
  }
  return left;
}

/** Whether a row moved away, before it was copied, with columns that the copy no longer had. */
export function isMissingColumns(project: ProjectState, stream: StreamState): boolean {
  return [...stream.rowStates].some(([membership, table]) => {
    const floor = commonFloor(project, stream, membership);
    return [...table].some(
      ([key, { kind, origin, position }]) =>
        kind === 'partial' && origin !== undefined && origin !== key && comparePositions(position, floor) >= 0,
    );
  });
}

/** Frames and parts that were evaluated before this look at the states again. */
export function reviseRowStates(shards: readonly ShardState[]): void {
  for (const shard of shards) shard.rowStatesRevision++;
}

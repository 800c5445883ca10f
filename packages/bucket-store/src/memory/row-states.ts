import { comparePositions, type Position } from '@sluice/domain';
import { AppError, InvariantError } from '@sluice/errors';
import type { FoundRowState, RowState, RowStatePage, RowStateRequest, RowStateWrite } from '../row-state.ts';
import type { ProjectState, ShardState, StreamState } from './project-state.ts';
import { floorOf } from './reads.ts';

/** As `sluice_store.read_row_states` (0009_row_state.sql). */
export function readRowStates(project: ProjectState | undefined, request: RowStateRequest): RowStatePage {
  const epoch = project?.epochs.get(request.epoch);
  const shard = epoch?.shards.find((candidate) => candidate.shard === request.shard);
  if (!project || !shard) throw new AppError('STORE_FENCED', { internal: 'row states of a retired epoch' });
  const { refs, withOrigins, bytesMax } = request;
  const states: FoundRowState[] = [];
  let bytes = 0;
  let answered = 0;
  for (; answered < refs.length; answered++) {
    const found = statesOf(project, request, answered, withOrigins);
    if (found.length > 0 && bytes >= bytesMax) break;
    for (const state of found) bytes += state.image.length;
    states.push(...found);
  }
  return { applied: shard.applied, revision: shard.rowStatesRevision, answered, states };
}

function statesOf(
  project: ProjectState,
  request: RowStateRequest,
  place: number,
  withOrigins: boolean,
): FoundRowState[] {
  const ref = request.refs[place];
  const stream = ref && project.streams.get(ref.stream);
  const table = stream?.rowStates.get(ref?.membership);
  if (!ref || !stream || !table) return [];
  const floor = rowStatesFloor(stream, ref.membership);
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

/** The position below which a table's states are void. */
function rowStatesFloor(stream: StreamState, membership: number | undefined): Position {
  const last = stream.truncates
    .filter((truncate) => truncate.membership === membership)
    .reduce((lsn, { position }) => (position.lsn > lsn ? position.lsn : lsn), 0n);
  return floorOf(stream, membership, last as Position['lsn']);
}

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
export function pruneRowStates(stream: StreamState, rowsMax: number): number {
  let left = rowsMax;
  for (const [membership, table] of stream.rowStates) {
    const floor = rowStatesFloor(stream, membership);
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
export function isMissingColumns(stream: StreamState): boolean {
  return [...stream.rowStates].some(([membership, table]) => {
    const floor = rowStatesFloor(stream, membership);
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

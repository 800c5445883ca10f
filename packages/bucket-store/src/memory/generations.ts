import type { Epoch, LeaseToken, Lsn, Position, StreamNo } from '@sluice/domain';
import { POSITION_ZERO } from '@sluice/domain';
import { AppError, assert } from '@sluice/errors';
import { INITIAL_CONDITION } from '../condition.ts';
import { rowKeysWith, tablesOfPlan } from '../plan-tables.ts';
import type { EpochRecord, NewStream, SourceIdentity, SourceRecord, StreamRecord } from '../port.ts';
import { appliedBarrierLsn } from './apply.ts';
import type { EpochState, ProjectState, StreamState } from './project-state.ts';
import { isMissingColumns, pruneRowStates, reviseRowStates } from './row-states.ts';

export function openEpoch(
  project: ProjectState,
  request: { identity: SourceIdentity; start: Position; shards: number },
): Epoch {
  retireEpochs(project, 'building', undefined);
  const epoch = project.nextEpoch++ as Epoch;
  const { start } = request;
  project.epochs.set(epoch, {
    epoch,
    state: 'building',
    identity: request.identity,
    mapVersion: 1,
    rowKeys: {},
    held: true,
    checkpoint: undefined,
    level: undefined,
    shards: Array.from({ length: request.shards }, (_, shard) => ({
      shard,
      applied: start,
      barrier: { lsn: start.lsn, endLsn: start.lsn },
      barrierCommittedAtMs: 0,
      barriers: [],
      previousBarrierEndLsn: start.lsn,
      rowStatesRevision: 0n,
    })),
  });
  return epoch;
}

/** Ends the epochs of a state; without shards no frame of theirs is applied any more. */
function retireEpochs(project: ProjectState, state: EpochState['state'], except: Epoch | undefined): void {
  for (const epoch of project.epochs.values()) {
    if (epoch.state !== state || epoch.epoch === except) continue;
    epoch.state = 'retired';
    epoch.shards.length = 0;
  }
}

export function liveEpoch(project: ProjectState, epoch: Epoch): EpochState {
  const state = project.epochs.get(epoch);
  if (!state || state.state === 'retired') throw new AppError('STORE_FENCED', { internal: 'retired epoch' });
  return state;
}

export function addStreams(
  project: ProjectState,
  request: { epoch: Epoch; streams: readonly NewStream[]; activatedAt: Lsn },
): StreamRecord[] {
  const epoch = liveEpoch(project, request.epoch);
  const appliedBefore = epoch.shards.map((shard) => shard.applied.lsn).reduce((a, b) => (b > a ? b : a));
  const plans = request.streams.map(({ plan }) => plan);
  epoch.rowKeys = rowKeysWith(epoch.rowKeys, plans);
  return request.streams.map((stream) => {
    const state: StreamState = {
      name: stream.name,
      contentHash: stream.contentHash,
      // As it would come back from a database.
      plan: JSON.parse(JSON.stringify(stream.plan)),
      stream: project.nextStream++ as StreamNo,
      epoch: request.epoch,
      activatedAt: request.activatedAt,
      appliedBefore,
      backfillPoint: undefined,
      copyPoint: undefined,
      isSettled: true,
      ranges: [],
      loadedTables: [],
      visibleAfter: undefined,
      droppedAfter: undefined,
      erasing: false,
      partsByTable: new Map(),
      chunksByBucket: new Map(),
      memberships: [],
      truncates: [],
      rowStates: new Map(),
      settledLsn: POSITION_ZERO.lsn,
    };
    project.streams.set(state.stream, state);
    return streamRecord(state);
  });
}

export function setBackfillPoint(project: ProjectState, numbers: readonly StreamNo[], point: Lsn): void {
  const streams = streamsInUse(project, numbers);
  for (const stream of streams) {
    assert(
      stream.visibleAfter === undefined,
      'copying again is a new generation, never rows into a visible stream (L11)',
    );
    assert(stream.appliedBefore < point, 'a copy is read after its streams were activated (L11)');
  }
  for (const stream of streams) {
    if (stream.backfillPoint === point) continue;
    stream.backfillPoint = point;
    reviseRowStates(project.epochs.get(stream.epoch)?.shards ?? []);
    // A new point voids what was copied under the one before.
    stream.loadedTables = [];
    stream.partsByTable.clear();
    stream.ranges = [];
    stream.copyPoint = undefined;
    stream.isSettled = true;
  }
}

export function switchStreams(
  project: ProjectState,
  change: { epoch: Epoch; show: readonly StreamNo[]; drop: readonly StreamNo[] },
): void {
  const epoch = liveEpoch(project, change.epoch);
  const show = knownStreams(project, change.show);
  const drop = knownStreams(project, change.drop);
  for (const stream of show) assertReady(project, stream, epoch);
  const after = epoch.checkpoint?.lsn ?? POSITION_ZERO.lsn;
  for (const stream of show) stream.visibleAfter ??= after;
  for (const stream of drop) stream.droppedAfter ??= after;
  retireEpochs(project, 'serving', epoch.epoch);
  epoch.state = 'serving';
  epoch.held = false;
}

function assertReady(project: ProjectState, stream: StreamState, epoch: EpochState): void {
  assert(
    stream.epoch === epoch.epoch && stream.droppedAfter === undefined,
    'a stream of another epoch cannot be shown',
  );
  const point = stream.copyPoint ?? stream.backfillPoint;
  assert(
    point !== undefined && point <= appliedBarrierLsn(epoch),
    'a stream is shown only when everything up to the newest point of its copy is applied (L10)',
  );
  assert(stream.isSettled, 'a stream whose copy was resumed is shown only when its sums are put right (L10)');
  const missing = tablesOfPlan(stream.plan).filter((table) => !stream.loadedTables.includes(table));
  assert(missing.length === 0, `a stream is shown only when its copy is complete (L10); missing ${missing.length}`);
  assert(
    stream.settledLsn <= appliedBarrierLsn(epoch),
    'a stream is shown only when everything that its copy was laid beside is applied (L10)',
  );
  if (isMissingColumns(project, stream))
    throw new AppError('SCHEMA_RELOADING', { internal: 'columns of a row were in no copy (L17)' });
}

function knownStreams(project: ProjectState, numbers: readonly StreamNo[]): StreamState[] {
  const streams = numbers.flatMap((number) => project.streams.get(number) ?? []).filter(({ erasing }) => !erasing);
  if (streams.length !== numbers.length) throw new AppError('STORE_FENCED', { internal: 'unknown stream' });
  return streams;
}
export function streamsInUse(project: ProjectState, numbers: readonly StreamNo[]): StreamState[] {
  const streams = knownStreams(project, numbers);
  if (streams.some((stream) => stream.droppedAfter !== undefined))
    throw new AppError('STORE_FENCED', { internal: 'dropped stream' });
  return streams;
}

/** As the Postgres adapter's eraseDropped; true when nothing is left to erase. */
export function eraseDropped(project: ProjectState, rowsMax: number): boolean {
  const serving = [...project.epochs.values()].find((epoch) => epoch.state === 'serving');
  for (const stream of project.streams.values())
    if (isErasable(stream, project.epochs.get(stream.epoch), serving)) stream.erasing = true;
  let left = rowsMax;
  for (const stream of project.streams.values()) left = pruneRowStates(project, stream, left);
  if (left <= 0) return false;
  for (const stream of [...project.streams.values()].filter((candidate) => candidate.erasing)) {
    left = eraseRows(stream, left);
    if (left <= 0) return false;
    project.streams.delete(stream.stream);
  }
  for (const epoch of [...project.epochs.values()])
    if (epoch.state === 'retired' && ![...project.streams.values()].some((stream) => stream.epoch === epoch.epoch))
      project.epochs.delete(epoch.epoch);
  return true;
}

function isErasable(stream: StreamState, epoch: EpochState | undefined, serving: EpochState | undefined): boolean {
  if (epoch === undefined || epoch.state === 'retired')
    return stream.visibleAfter === undefined || serving?.checkpoint !== undefined;
  return (
    stream.droppedAfter !== undefined && epoch.checkpoint !== undefined && stream.droppedAfter < epoch.checkpoint.lsn
  );
}

/** Erases rows of the stream until the bound is reached; gives what is left of the bound. */
function eraseRows(stream: StreamState, rowsMax: number): number {
  let left = rowsMax;
  for (const [bucket, chunks] of stream.chunksByBucket) {
    left -= chunks.splice(0, Math.max(left, 0)).length;
    if (chunks.length > 0) return 0;
    stream.chunksByBucket.delete(bucket);
  }
  for (const table of stream.rowStates.values())
    for (const key of [...table.keys()].slice(0, Math.max(left, 0))) left -= Number(table.delete(key));
  for (const list of [stream.memberships, stream.truncates]) left -= list.splice(0, Math.max(left, 0)).length;
  return left;
}

export function sourceRecord(project: ProjectState): SourceRecord {
  const epochs = [...project.epochs.values()];
  const recordOf = (state: EpochState['state']): EpochRecord | undefined => {
    const found = epochs.findLast((epoch) => epoch.state === state);
    return found && epochRecord(found);
  };
  return {
    leaseToken: project.leaseToken as LeaseToken,
    condition: project.condition ?? INITIAL_CONDITION,
    serving: recordOf('serving'),
    building: recordOf('building'),
  };
}

function epochRecord(state: EpochState): EpochRecord {
  const { epoch, identity, mapVersion, rowKeys, checkpoint, held } = state;
  const shards = state.shards.map(({ shard, applied, barrier, previousBarrierEndLsn }) => ({
    shard,
    applied,
    barrier,
    previousBarrierEndLsn,
  }));
  return { epoch, identity, mapVersion, rowKeys, shards, checkpoint, held };
}

export function streamRecord(state: StreamState): StreamRecord {
  return {
    stream: state.stream,
    epoch: state.epoch,
    name: state.name,
    contentHash: state.contentHash,
    plan: state.plan,
    activatedAt: state.activatedAt,
    backfillPoint: state.backfillPoint,
    loadedTables: [...state.loadedTables],
    visibleAfter: state.visibleAfter,
    droppedAfter: state.droppedAfter,
  };
}

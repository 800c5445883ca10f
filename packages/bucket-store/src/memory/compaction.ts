import {
  type BucketId,
  type Clock,
  comparePositions,
  type Epoch,
  type Lsn,
  type ProjectId,
  type StreamNo,
} from '@sluice/domain';
import { AppError, assert } from '@sluice/errors';
import { readDirectoryBase } from '@sluice/protocol';
import type {
  ChunkKey,
  ChunkOutline,
  CompactionStore,
  CompactionToken,
  FloorAges,
  Floors,
} from '../compaction-port.ts';
import type { MembershipWrite, StoredChunk } from '../port.ts';
import { floorOf } from './floors.ts';
import type { ProjectState, StreamState } from './project-state.ts';

/** What compaction keeps of a project, as the tables of 0011_compaction.sql. */
export interface CompactionState {
  token: CompactionToken;
  holder: string | undefined;
  expiresAtMs: number;
  readonly floors: Map<Epoch, { readLsn: Lsn; resumeLsn: Lsn; passedLsn: Lsn | undefined }>;
  readonly marks: { epoch: Epoch; lsn: Lsn; committedAtMs: number }[];
  readonly pins: Map<string, { epoch: Epoch; lsn: Lsn; expiresAtMs: number }>;
}
export function emptyCompaction(): CompactionState {
  const none = { token: 0n as CompactionToken, holder: undefined, expiresAtMs: 0 };
  return { ...none, floors: new Map(), marks: [], pins: new Map() };
}

export function memoryCompactionStore(
  clock: Clock,
  projectOf: (project: ProjectId) => ProjectState | undefined,
): CompactionStore {
  const stateOf = (project: ProjectId): ProjectState => {
    const state = projectOf(project);
    assert(state, 'compaction of a project that nobody has leased');
    return state;
  };
  const shown = (project: ProjectId, token: CompactionToken, stream: StreamNo): StreamState =>
    shownStream(heldCompaction(projectOf(project), token), stream);
  const chunksOf = (project: ProjectId, stream: StreamNo): StreamState => {
    const state = projectOf(project)?.streams.get(stream);
    if (!state) throw new AppError('STORE_STREAM_GONE');
    return state;
  };
  return {
    async acquireCompaction(project, holder, ttlMs) {
      return acquireCompaction(stateOf(project).compaction, { holder, ttlMs, nowMs: clock.nowMs() });
    },
    async releaseCompaction(project, token) {
      const { compaction } = stateOf(project);
      if (compaction.token === token) compaction.holder = undefined;
    },
    async raiseFloors(project, token, ages) {
      return raiseFloors(heldCompaction(projectOf(project), token), ages, clock.nowMs());
    },
    async beginPass(project, token) {
      for (const floors of heldCompaction(projectOf(project), token).compaction.floors.values())
        floors.passedLsn = undefined;
    },
    async endPass(project, token) {
      endPass(heldCompaction(projectOf(project), token));
    },
    async pinCheckpoint(project, holder, { epoch, lsn, ttlMs }) {
      stateOf(project).compaction.pins.set(holder, { epoch, lsn, expiresAtMs: clock.nowMs() + ttlMs });
    },
    async unpinCheckpoint(project, holder) {
      projectOf(project)?.compaction.pins.delete(holder);
    },
    async readCrowdedBuckets(project, request) {
      return crowdedBuckets(chunksOf(project, request.stream), request);
    },
    async readOutlines(project, { stream, readFrom, buckets }) {
      return outlines(chunksOf(project, stream), buckets, readFrom);
    },
    async readExactChunks(project, stream, keys) {
      return exactChunks(chunksOf(project, stream), keys);
    },
    async replaceChunks(project, token, change) {
      replaceChunks(shown(project, token, change.stream), change);
    },
    async sweepStream(project, token, stream) {
      const state = shown(project, token, stream);
      sweepStream(stateOf(project), state);
      return true;
    },
    async packBuckets(project, token, { stream }) {
      shown(project, token, stream);
      return { packed: 0, next: undefined };
    },
    async giveBackSpace() {
      return 0;
    },
  };
}

function acquireCompaction(
  state: CompactionState,
  request: { holder: string; ttlMs: number; nowMs: number },
): CompactionToken | undefined {
  const { holder, ttlMs, nowMs } = request;
  if (state.holder !== undefined && state.holder !== holder && state.expiresAtMs > nowMs) return undefined;
  state.token = (state.token + 1n) as CompactionToken;
  state.holder = holder;
  state.expiresAtMs = nowMs + ttlMs;
  return state.token;
}

function heldCompaction(project: ProjectState | undefined, token: CompactionToken): ProjectState {
  if (!project || project.erased || project.compaction.token !== token)
    throw new AppError('STORE_FENCED', { internal: 'compaction token' });
  return project;
}

function floorsOf(project: ProjectState, epoch: Epoch) {
  const known = project.compaction.floors.get(epoch);
  if (known) return known;
  const fresh = { readLsn: 0n as Lsn, resumeLsn: 0n as Lsn, passedLsn: undefined };
  project.compaction.floors.set(epoch, fresh);
  return fresh;
}

function raiseFloors(project: ProjectState, ages: FloorAges, nowMs: number): Floors | undefined {
  const checkpoint = [...project.epochs.values()].find((epoch) => epoch.state === 'serving')?.checkpoint;
  if (!checkpoint) return undefined;
  const { epoch, lsn, committedAtMs } = checkpoint;
  const marks = project.compaction.marks.filter((mark) => mark.epoch === epoch);
  if (!marks.some((mark) => mark.lsn >= lsn)) {
    project.compaction.marks.push({ epoch, lsn, committedAtMs });
    marks.push({ epoch, lsn, committedAtMs });
  }
  const aged = (ageMs: number): Lsn =>
    marks
      .filter((mark) => mark.committedAtMs <= committedAtMs - ageMs)
      .reduce((newest, mark) => (mark.lsn > newest ? mark.lsn : newest), 0n as Lsn);
  const pinned = [...project.compaction.pins.values()].filter((pin) => pin.epoch === epoch && pin.expiresAtMs > nowMs);
  const readable = pinned.reduce((least, pin) => (pin.lsn < least ? pin.lsn : least), aged(ages.readableMs));
  const resumable = aged(ages.retentionMs);
  const floors = floorsOf(project, epoch);
  if (readable > floors.readLsn) floors.readLsn = readable;
  const resume = resumable < floors.readLsn ? resumable : floors.readLsn;
  if (resume > floors.resumeLsn) floors.resumeLsn = resume;
  return {
    epoch,
    readFrom: floors.readLsn,
    resumeFrom: floors.resumeLsn,
    passedThrough: floors.passedLsn,
  };
}

function endPass(project: ProjectState): void {
  const checkpoint = [...project.epochs.values()].find((epoch) => epoch.state === 'serving')?.checkpoint;
  if (checkpoint) floorsOf(project, checkpoint.epoch).passedLsn = checkpoint.lsn;
}

function shownStream(project: ProjectState, stream: StreamNo): StreamState {
  const state = project.streams.get(stream);
  if (!state || state.erasing || state.visibleAfter === undefined)
    throw new AppError('STORE_FENCED', { internal: 'compaction of a stream that is not shown' });
  return state;
}

function crowdedBuckets(
  stream: StreamState,
  request: { readFrom: Lsn; after: BucketId | undefined; bucketsMax: number },
): { buckets: BucketId[]; next: BucketId | undefined } {
  const chunksBelow = (bucket: BucketId): StoredChunk[] =>
    (stream.chunksByBucket.get(bucket) ?? []).filter((chunk) => chunk.position.lsn <= request.readFrom);
  const looked = [...stream.chunksByBucket.keys()]
    .filter((bucket) => bucket > (request.after ?? '') && chunksBelow(bucket).length > 0)
    .sort()
    .slice(0, request.bucketsMax);
  const next = looked.length === request.bucketsMax ? looked.at(-1) : undefined;
  const isCrowded = (bucket: BucketId): boolean =>
    chunksBelow(bucket).length > 1 || chunksBelow(bucket).some((chunk) => chunk.ops !== chunk.rowsDelta);
  return { buckets: looked.filter(isCrowded), next };
}

function outlines(stream: StreamState, buckets: readonly BucketId[], readFrom: Lsn): ChunkOutline[] {
  const below = floorOf(stream, undefined, readFrom);
  return [...buckets].sort().flatMap((bucket) =>
    [...(stream.chunksByBucket.get(bucket) ?? [])]
      .filter((chunk) => chunk.position.lsn <= readFrom && comparePositions(chunk.position, below) >= 0)
      .sort((a, b) => comparePositions(a.position, b.position) || a.part - b.part)
      .map(({ position, part, ops, rowsDelta, payloadBytes, directory }) => ({
        ...{ bucket, position, part, ops, rowsDelta, payloadBytes },
        baseLsn: readDirectoryBase(directory),
      })),
  );
}

function exactChunks(stream: StreamState, keys: readonly ChunkKey[]): StoredChunk[] {
  return keys.flatMap((key) => (stream.chunksByBucket.get(key.bucket) ?? []).filter((chunk) => isAt(chunk, key)));
}
function isAt(chunk: StoredChunk, key: ChunkKey): boolean {
  return comparePositions(chunk.position, key.position) === 0 && chunk.part === key.part;
}

function replaceChunks(
  stream: StreamState,
  change: { remove: readonly ChunkKey[]; add: readonly StoredChunk[] },
): void {
  const found = exactChunks(stream, change.remove).length;
  assert(found === change.remove.length, 'chunks to be replaced are not all there');
  for (const key of change.remove) {
    const left = (stream.chunksByBucket.get(key.bucket) ?? []).filter((chunk) => !isAt(chunk, key));
    stream.chunksByBucket.set(key.bucket, left);
  }
  for (const chunk of change.add) {
    const copy = { ...chunk, directory: chunk.directory.slice(), payload: chunk.payload.slice() };
    stream.chunksByBucket.set(chunk.bucket, [...(stream.chunksByBucket.get(chunk.bucket) ?? []), copy]);
  }
  for (const { bucket } of change.remove)
    if (stream.chunksByBucket.get(bucket)?.length === 0) stream.chunksByBucket.delete(bucket);
}

/** As `sluice_store.sweep_stream`; all of it at once. */
function sweepStream(project: ProjectState, stream: StreamState): void {
  const floors = project.compaction.floors.get(stream.epoch);
  if (!floors) return;
  const below = floorOf(stream, undefined, floors.readLsn);
  for (const [bucket, chunks] of stream.chunksByBucket) {
    const kept = chunks.filter((chunk) => comparePositions(chunk.position, below) >= 0);
    if (kept.length > 0) stream.chunksByBucket.set(bucket, kept);
    else stream.chunksByBucket.delete(bucket);
  }
  stream.memberships = stream.memberships.filter((op) => isNeeded(stream, op, floors.resumeLsn));
  stream.truncates = stream.truncates.filter(
    (truncate) =>
      !stream.truncates.some(
        (later) =>
          later.membership === truncate.membership &&
          comparePositions(later.position, truncate.position) > 0 &&
          later.position.lsn <= floors.resumeLsn,
      ),
  );
}

function isNeeded(stream: StreamState, op: MembershipWrite, resumeLsn: Lsn): boolean {
  if (op.position.lsn > resumeLsn) return true;
  if (!op.present || comparePositions(op.position, floorOf(stream, op.membership, resumeLsn)) < 0) return false;
  const key = Buffer.from(op.rowKey);
  return !stream.memberships.some(
    (later) =>
      later.membership === op.membership &&
      later.lookup === op.lookup &&
      later.position.lsn <= resumeLsn &&
      comparePositions(later.position, op.position) > 0 &&
      key.equals(later.rowKey),
  );
}

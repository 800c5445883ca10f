import { type BucketId, comparePositions, type Lsn, SEQ_SNAPSHOT, type StreamNo } from '@sluice/domain';
import { assert } from '@sluice/errors';
import { CODEC_STORED } from '@sluice/protocol';
import { emptyDirectory } from '../empty-directory.ts';
import {
  CORRECTION_PART,
  type CopyPlan,
  type CopyRangeRecord,
  type Correction,
  type Settlement,
  type StoredChunk,
  type UnsettledBucket,
  type UnsettledRequest,
} from '../port.ts';
import { streamsInUse } from './generations.ts';
import type { ProjectState, StreamState } from './project-state.ts';

/** As the Postgres adapter's copies.ts, which says why. */
export function planCopy(project: ProjectState, numbers: readonly StreamNo[], plan: CopyPlan): void {
  const streams = streamsInUse(project, numbers);
  for (const stream of streams) {
    assert(stream.backfillPoint !== undefined, 'a copy is planned under its point (L10)');
    assert(!stream.ranges.some(({ table }) => table === plan.table), 'a copy is planned once');
  }
  for (const stream of streams)
    for (const [range, { lower, upper }] of plan.ranges.entries())
      stream.ranges.push({ table: plan.table, range, lower, upper, point: undefined });
}

export function readCopy(project: ProjectState | undefined, stream: StreamNo): CopyRangeRecord[] {
  const ranges = project?.streams.get(stream)?.ranges ?? [];
  return [...ranges].sort((a, b) => (a.table < b.table ? -1 : a.table > b.table ? 1 : a.range - b.range));
}

export function resumeCopy(project: ProjectState, numbers: readonly StreamNo[], point: Lsn): void {
  const streams = streamsInUse(project, numbers);
  for (const stream of streams) {
    assert(stream.visibleAfter === undefined, 'nothing is copied into a visible stream (L11)');
    const newest = stream.copyPoint ?? stream.backfillPoint;
    assert(newest !== undefined && newest < point, 'a copy is resumed under a newer point (L10)');
  }
  for (const stream of streams) {
    stream.copyPoint = point;
    stream.isSettled = false;
    stream.partsByTable.clear();
  }
}

export function readUnsettled(project: ProjectState | undefined, request: UnsettledRequest): UnsettledBucket[] {
  const { stream, through, after, bucketsMax } = request;
  const buckets: UnsettledBucket[] = [];
  for (const [bucket, all] of project?.streams.get(stream)?.chunksByBucket ?? []) {
    const chunks = all.filter(({ position }) => position.lsn <= through);
    if (chunks.length === 0 || bucket <= (after ?? '')) continue;
    const isOneCopy = chunks.every(
      ({ position }) => position.seq === SEQ_SNAPSHOT && position.lsn === chunks[0]?.position.lsn,
    );
    if (!isOneCopy) buckets.push({ bucket, ops: chunks.reduce((sum, { ops }) => sum + ops, 0) });
  }
  return buckets.sort((a, b) => (a.bucket < b.bucket ? -1 : 1)).slice(0, bucketsMax);
}

export function settleCopy(project: ProjectState, settlement: Settlement): void {
  const [stream] = streamsInUse(project, [settlement.stream]);
  assert(stream?.copyPoint !== undefined && stream.visibleAfter === undefined, 'only a resumed copy is settled (L10)');
  for (const correction of settlement.corrections) correct(stream, stream.copyPoint, correction);
  if (settlement.last) stream.isSettled = true;
}

function correct(stream: StreamState, point: Lsn, correction: Correction): void {
  const position = { lsn: point, seq: SEQ_SNAPSHOT };
  const chunks = chunksOf(stream, correction.bucket);
  const known = chunks.findIndex(
    (chunk) => comparePositions(chunk.position, position) === 0 && chunk.part === CORRECTION_PART,
  );
  const before = chunks[known] ?? { rowsDelta: 0, checksumDelta: 0n };
  const chunk: StoredChunk = {
    ...{ stream: stream.stream, bucket: correction.bucket, position, part: CORRECTION_PART, ops: 0 },
    rowsDelta: before.rowsDelta + correction.rowsDelta,
    checksumDelta: BigInt.asUintN(64, before.checksumDelta + correction.checksumDelta),
    ...{ codec: CODEC_STORED, payloadBytes: 0, directory: emptyDirectory(), payload: new Uint8Array() },
  };
  if (known >= 0) chunks[known] = chunk;
  else chunks.push(chunk);
}

function chunksOf(stream: StreamState, bucket: BucketId): StoredChunk[] {
  const chunks = stream.chunksByBucket.get(bucket) ?? [];
  stream.chunksByBucket.set(bucket, chunks);
  return chunks;
}

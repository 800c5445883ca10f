import { type BucketId, comparePositions, type LookupId, type Lsn, POSITION_ZERO, type StreamNo } from '@sluice/domain';
import { AppError } from '@sluice/errors';
import { type ChunkCursor, formatChunkCursor, NO_CURSOR, parseChunkCursor } from '../chunk-cursor.ts';
import type {
  BucketRef,
  BucketTotals,
  ChunkPage,
  ChunkRequest,
  LookupRef,
  MembershipWrite,
  StoredChunk,
} from '../port.ts';
import { assertUnfolded, floorOf } from './floors.ts';
import type { ProjectState, StreamState } from './project-state.ts';

function streamOf(project: ProjectState | undefined, stream: StreamNo): StreamState {
  const state = project?.streams.get(stream);
  if (!state || state.erasing) throw new AppError('STORE_STREAM_GONE');
  return state;
}

const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

export function readChunks(project: ProjectState | undefined, request: ChunkRequest): ChunkPage {
  const from = request.cursor === undefined ? NO_CURSOR : parseChunkCursor(request.cursor);
  const wanted = distinctBuckets(request.buckets).flatMap((ref) => {
    const { after, through } = request;
    assertUnfolded(project, ref.stream, after > 0n ? { after, through } : { through });
    const floor = floorOf(streamOf(project, ref.stream), undefined, request.through);
    return chunksOf(project, ref).filter(
      (chunk) =>
        chunk.position.lsn > request.after &&
        chunk.position.lsn <= request.through &&
        comparePositions(chunk.position, floor) >= 0 &&
        compareToCursor(chunk, from) > 0,
    );
  });
  let bytes = 0;
  const cut = wanted.findIndex((chunk) => {
    bytes += chunk.directory.length + chunk.payload.length;
    return bytes >= request.bytesMax;
  });
  const chunks = cut === -1 ? wanted : wanted.slice(0, cut + 1);
  const last = chunks.at(-1);
  return { chunks, next: cut === -1 || !last ? undefined : formatChunkCursor(last) };
}

function distinctBuckets(refs: readonly BucketRef[]): BucketRef[] {
  const byKey = new Map(refs.map((ref) => [`${ref.stream} ${ref.bucket}`, ref]));
  return [...byKey.values()].sort((a, b) => a.stream - b.stream || compareText(a.bucket, b.bucket));
}

/** In (position, part) order, which parts of a copy need not have been written in. */
function chunksOf(project: ProjectState | undefined, ref: BucketRef): StoredChunk[] {
  const chunks = streamOf(project, ref.stream).chunksByBucket.get(ref.bucket) ?? [];
  return [...chunks].sort((a, b) => comparePositions(a.position, b.position) || a.part - b.part);
}

function compareToCursor(chunk: StoredChunk, cursor: ChunkCursor): number {
  return (
    chunk.stream - cursor.stream ||
    compareText(chunk.bucket, cursor.bucket) ||
    comparePositions(chunk.position, { lsn: cursor.lsn, seq: cursor.seq }) ||
    chunk.part - cursor.part
  );
}

export function readSums(
  project: ProjectState | undefined,
  buckets: readonly BucketRef[],
  through: Lsn,
): Map<BucketId, BucketTotals> {
  const sums = new Map<BucketId, BucketTotals>();
  for (const ref of distinctBuckets(buckets)) {
    const { chunks } = readChunks(project, {
      buckets: [ref],
      after: -1n as Lsn,
      through,
      bytesMax: Number.POSITIVE_INFINITY,
      cursor: undefined,
    });
    if (chunks.length === 0) continue;
    const checksum = chunks.reduce((sum, chunk) => sum + chunk.checksumDelta, 0n);
    const rows = chunks.reduce((sum, chunk) => sum + chunk.rowsDelta, 0);
    sums.set(ref.bucket, { checksum: BigInt.asUintN(64, checksum), rows });
  }
  return sums;
}

export function readMembership(
  project: ProjectState | undefined,
  lookups: readonly LookupRef[],
  through: Lsn,
): Map<LookupId, string[]> {
  return valuesByLookup(lookups, (ref) => {
    const stream = streamOf(project, ref.stream);
    // Clients prove what they hold as of the checkpoint that they resume from.
    assertUnfolded(project, ref.stream, { after: through });
    const floor = floorOf(stream, ref.membership, through);
    const newest = new Map<string, MembershipWrite>();
    for (const op of opsOf(stream, ref)) {
      if (op.position.lsn > through || comparePositions(op.position, floor) < 0) continue;
      const key = Buffer.from(op.rowKey).toString('latin1');
      const known = newest.get(key);
      if (!known || comparePositions(op.position, known.position) > 0) newest.set(key, op);
    }
    return [...newest.values()].filter((op) => op.present);
  });
}

export function readMembershipTouched(
  project: ProjectState | undefined,
  lookups: readonly LookupRef[],
  range: { after: Lsn; through: Lsn },
): Map<LookupId, string[]> {
  return valuesByLookup(lookups, (ref) => {
    const stream = streamOf(project, ref.stream);
    assertUnfolded(project, ref.stream, { after: range.after });
    const isLive = (lsn: Lsn) => lsn <= range.through && lsn >= (stream.backfillPoint ?? POSITION_ZERO.lsn);
    const isTouched = (lsn: Lsn) => isLive(lsn) && lsn > range.after;
    // A TRUNCATE of the set touches every value that it had before.
    const isCleared = stream.truncates.some(
      (truncate) => truncate.membership === ref.membership && isTouched(truncate.position.lsn),
    );
    return opsOf(stream, ref).filter((op) => (isCleared ? isLive : isTouched)(op.position.lsn));
  });
}

function opsOf(stream: StreamState, ref: LookupRef): MembershipWrite[] {
  return stream.memberships.filter((op) => op.membership === ref.membership && op.lookup === ref.lookup);
}

function valuesByLookup(
  lookups: readonly LookupRef[],
  opsOfLookup: (ref: LookupRef) => readonly MembershipWrite[],
): Map<LookupId, string[]> {
  const values = new Map<LookupId, string[]>();
  for (const ref of lookups) {
    const found = new Set([...(values.get(ref.lookup) ?? []), ...opsOfLookup(ref).map((op) => op.value)]);
    if (found.size > 0) values.set(ref.lookup, [...found].sort());
  }
  return values;
}

export function readTruncated(
  project: ProjectState | undefined,
  streams: readonly StreamNo[],
  range: { after: Lsn; through: Lsn },
): StreamNo[] {
  for (const stream of streams) assertUnfolded(project, stream, { after: range.after });
  const isTruncated = (stream: StreamState | undefined): boolean =>
    stream?.truncates.some(
      ({ membership, position: { lsn } }) =>
        membership === undefined &&
        lsn > range.after &&
        lsn <= range.through &&
        lsn >= (stream.backfillPoint ?? POSITION_ZERO.lsn),
    ) ?? false;
  return [...new Set(streams)].filter((no) => isTruncated(project?.streams.get(no))).sort((a, b) => a - b);
}

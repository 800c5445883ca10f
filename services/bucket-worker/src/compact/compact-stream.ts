import type {
  BucketStore,
  ChunkOutline,
  ChunkKey as ChunkRef,
  CompactionToken,
  Floors,
  StoredChunk,
  StreamRecord,
} from '@sluice/bucket-store';
import type { BucketId, Lsn, ProjectId } from '@sluice/domain';
import { OP_REMOVE } from '@sluice/protocol';
import { chooseFold } from './choose-fold.ts';
import { type FoldOptions, foldChunks } from './fold-chunks.ts';
import { openChunk, tightChunk } from './payload-codec.ts';

export interface StreamPass {
  readonly store: BucketStore;
  readonly project: ProjectId;
  readonly token: () => CompactionToken;
  readonly floors: Floors;
  readonly stream: StreamRecord['stream'];
  /** Folds whatever holds more than live rows, so that what is older than the retention leaves. */
  readonly thorough: boolean;
  /** Whether removes that stand alone, below the resume floor, may go. */
  readonly mayDropRemoves: boolean;
  /** Buckets that one statement looks at. */
  readonly bucketsMax: number;
  /** Payload bytes that one step holds and writes, but for a single chunk that is larger. */
  readonly bytesMax: number;
}
/** One short transaction's worth of work. */
export interface CompactionStep {
  readonly chunksBefore: number;
  readonly chunksAfter: number;
  readonly opsDropped: number;
  readonly packed: number;
}
const NO_STEP: CompactionStep = { chunksBefore: 0, chunksAfter: 0, opsDropped: 0, packed: 0 };
const ROWS_PER_SWEEP = 5000;

/** Erases what is void, folds crowded buckets, then packs small ones: a step at a time, each durable by itself. */
export async function* compactStream(pass: StreamPass): AsyncGenerator<CompactionStep> {
  yield* sweep(pass);
  yield* fold(pass);
  yield* pack(pass);
}

async function* sweep({ store, project, token, stream, thorough }: StreamPass): AsyncGenerator<CompactionStep> {
  if (!thorough) return;
  while (!(await store.sweepStream(project, token(), stream, ROWS_PER_SWEEP))) yield NO_STEP;
}

async function* fold(pass: StreamPass): AsyncGenerator<CompactionStep> {
  const { store, project, stream, floors, bucketsMax } = pass;
  let after: BucketId | undefined;
  do {
    const window = { stream, readFrom: floors.readFrom, after, bucketsMax };
    const { buckets, next } = await store.readCrowdedBuckets(project, window);
    if (buckets.length > 0) {
      const outlines = await store.readOutlines(project, { stream, readFrom: floors.readFrom, buckets });
      yield* foldBuckets(pass, runsOf(outlines, pass.thorough));
    } else yield NO_STEP;
    after = next;
  } while (after !== undefined);
}

interface Run {
  readonly chunks: readonly ChunkOutline[];
  /** It begins with the bucket's first chunk. */
  readonly isPrefix: boolean;
}

function runsOf(outlines: readonly ChunkOutline[], thorough: boolean): Run[] {
  const chunksByBucket = new Map<BucketId, ChunkOutline[]>();
  for (const outline of outlines) {
    const known = chunksByBucket.get(outline.bucket);
    if (known) known.push(outline);
    else chunksByBucket.set(outline.bucket, [outline]);
  }
  return [...chunksByBucket.values()].flatMap((all) => {
    const chunks = chooseFold(all, thorough);
    return chunks.length > 0 ? [{ chunks, isPrefix: chunks[0] === all[0] }] : [];
  });
}

/** Runs that are small enough are folded together; a larger one by itself. */
async function* foldBuckets(pass: StreamPass, runs: readonly Run[]): AsyncGenerator<CompactionStep> {
  let together: Run[] = [];
  let bytes = 0;
  for (const run of runs) {
    const runBytes = bytesOf(run.chunks);
    if (runBytes > pass.bytesMax) {
      yield* foldLarge(pass, run);
      continue;
    }
    if (bytes + runBytes > pass.bytesMax) {
      yield await foldTogether(pass, together);
      together = [];
      bytes = 0;
    }
    together.push(run);
    bytes += runBytes;
  }
  if (together.length > 0) yield await foldTogether(pass, together);
}

function dropRemovesThrough({ floors, mayDropRemoves }: StreamPass, isPrefix: boolean): Lsn | undefined {
  return isPrefix && mayDropRemoves ? floors.resumeFrom : undefined;
}

async function foldTogether(pass: StreamPass, runs: readonly Run[]): Promise<CompactionStep> {
  const stored = await read(
    pass,
    runs.flatMap((run) => run.chunks),
  );
  const remove: ChunkOutline[] = [];
  const add: StoredChunk[] = [];
  let opsDropped = 0;
  for (const { chunks, isPrefix } of runs) {
    const input = chunks.map((outline) => openChunk(stored.get(keyOf(outline)) as StoredChunk));
    const result = foldChunks(input, {
      newerKeys: new Set(),
      dropRemovesThrough: dropRemovesThrough(pass, isPrefix),
    });
    if (!result.isChanged) continue;
    opsDropped += result.opsDropped;
    remove.push(...chunks);
    add.push(...result.chunks.map(tightChunk));
  }
  return replace(pass, remove, add, opsDropped);
}

/** Row keys remembered while a large bucket is gone through, newest chunk first; past it, older duplicates stay. */
const NEWER_KEYS_MAX = 500_000;

/**
 * A bucket that is too large to hold, from its newest chunks to its oldest, some at a time: each part is left without the
 * rows that a newer part has. Whether a remove stands alone is known at the end; then those that do, and may go, go.
 */
async function* foldLarge(pass: StreamPass, run: Run): AsyncGenerator<CompactionStep> {
  const newerKeys = new Set<string>();
  const through = dropRemovesThrough(pass, run.isPrefix);
  /** Removes that no older op was seen of, with the part that holds them. */
  const partByBareKey = new Map<string, number>();
  const parts: (readonly ChunkRef[])[] = partsOf(run.chunks, pass.bytesMax).reverse();
  for (const [i, chunks] of parts.entries()) {
    const keys = newerKeys.size < NEWER_KEYS_MAX ? newerKeys : new Set(newerKeys);
    const onOp: FoldOptions['onOp'] = ({ key, kind, lsn }) => {
      partByBareKey.delete(key);
      const mayGo = through !== undefined && kind === OP_REMOVE && lsn <= through && !keys.has(key);
      if (mayGo && partByBareKey.size < NEWER_KEYS_MAX) partByBareKey.set(key, i);
    };
    const folded = await foldPart(pass, chunks, { newerKeys: keys, dropRemovesThrough: undefined, onOp });
    parts[i] = folded.chunks;
    yield folded.step;
  }
  const bareKeys = new Set(partByBareKey.keys());
  for (const i of new Set(partByBareKey.values())) {
    const options = { newerKeys: new Set<string>(), dropRemovesThrough: undefined, bareKeys };
    yield (await foldPart(pass, parts[i] ?? [], options)).step;
  }
}

async function foldPart(
  pass: StreamPass,
  chunks: readonly ChunkRef[],
  options: FoldOptions,
): Promise<{ chunks: readonly ChunkRef[]; step: CompactionStep }> {
  const stored = await read(pass, chunks);
  const input = chunks.map((ref) => openChunk(stored.get(keyOf(ref)) as StoredChunk));
  const result = foldChunks(input, options);
  if (!result.isChanged) return { chunks, step: NO_STEP };
  const step = await replace(pass, chunks, result.chunks.map(tightChunk), result.opsDropped);
  // Without their content, which may be large.
  return { chunks: result.chunks.map(({ bucket, position, part }) => ({ bucket, position, part })), step };
}

function partsOf(chunks: readonly ChunkOutline[], bytesMax: number): ChunkOutline[][] {
  const parts: ChunkOutline[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const chunk of chunks) {
    if (bytes + chunk.payloadBytes > bytesMax) {
      parts.push([]);
      bytes = 0;
    }
    parts.at(-1)?.push(chunk);
    bytes += chunk.payloadBytes;
  }
  return parts;
}

async function read(pass: StreamPass, keys: readonly ChunkRef[]): Promise<Map<string, StoredChunk>> {
  const chunks = await pass.store.readExactChunks(pass.project, pass.stream, keys);
  return new Map(chunks.map((chunk) => [keyOf(chunk), chunk]));
}

async function replace(
  pass: StreamPass,
  remove: readonly ChunkRef[],
  add: readonly StoredChunk[],
  opsDropped: number,
): Promise<CompactionStep> {
  const { store, project, stream } = pass;
  if (remove.length > 0) await store.replaceChunks(project, pass.token(), { stream, remove, add });
  return { chunksBefore: remove.length, chunksAfter: add.length, opsDropped, packed: 0 };
}

async function* pack({
  store,
  project,
  token,
  stream,
  floors,
  bucketsMax,
}: StreamPass): AsyncGenerator<CompactionStep> {
  let after: BucketId | undefined;
  do {
    const window = { stream, readFrom: floors.readFrom, after, bucketsMax };
    const { packed, next } = await store.packBuckets(project, token(), window);
    yield { ...NO_STEP, packed };
    after = next;
  } while (after !== undefined);
}

function keyOf({ bucket, position, part }: Pick<StoredChunk, 'bucket' | 'position' | 'part'>): string {
  return `${bucket} ${position.lsn} ${position.seq} ${part}`;
}
function bytesOf(chunks: readonly ChunkOutline[]): number {
  return chunks.reduce((bytes, chunk) => bytes + chunk.payloadBytes, 0);
}

import { inflateRawSync } from 'node:zlib';
import type {
  BucketTotals,
  Correction,
  EpochRecord,
  StoredChunk,
  StreamRecord,
  UnsettledBucket,
} from '@sluice/bucket-store';
import { type BucketId, comparePositions, type Lsn, type Position, rowHash, tableSeed } from '@sluice/domain';
import { AppError } from '@sluice/errors';
import { CODEC_DEFLATE_RAW, forEachOp, OP_PUT, readDirectory } from '@sluice/protocol';
import type { StreamPlan } from '@sluice/sync-rules';
import type { Holding } from './holding.ts';
import { planOf } from './schema/plan-tables.ts';

/** Buckets that are corrected in one transaction. */
const bucketsMax = 500;
const chunkBytesMax = 8 << 20;
/** Rows of one bucket that are held in memory; a larger bucket is read several times, each time for a part of its keys. */
const rowsHeldMax = 500_000;

/**
 * L9, L10: puts the sums of streams right whose copy was resumed. A change that was streamed between two points counts for rows
 * that were copied before it, and is in the copy of the others, whose deltas are then counted twice. The newest op of each row
 * is right all the same, so that the sum over these is the bucket's true one. Does nothing for a copy under one point.
 * @throws AppError
 */
export async function settleCopies(
  holding: Holding,
  { epoch, streams }: { readonly epoch: EpochRecord; readonly streams: readonly StreamRecord[] },
  signal: AbortSignal,
): Promise<void> {
  const { store } = holding.dependencies;
  const numbers = new Set(streams.map(({ stream }) => stream));
  const resumed: StreamRecord[] = [];
  // As they are now: when they were added they had no point yet.
  for (const stream of (await store.readStreams(holding.project)).filter(({ stream }) => numbers.has(stream))) {
    const ranges = await store.readCopy(holding.project, stream.stream);
    if (ranges.some(({ point }) => point !== stream.backfillPoint)) resumed.push(stream);
  }
  if (resumed.length === 0) return;
  const through = await appliedBarrier(holding, epoch);
  for (const stream of resumed) await settleStream(holding, stream, through, signal);
}

/** Everything up to it is applied; what comes later changes sums by deltas that are right. */
async function appliedBarrier({ dependencies, project }: Holding, { epoch }: EpochRecord): Promise<Lsn> {
  const source = await dependencies.store.readSource(project);
  const record = [source?.building, source?.serving].find((candidate) => candidate?.epoch === epoch);
  const barriers = record?.shards.map(({ barrier }) => barrier.lsn) ?? [];
  if (barriers.length === 0) throw new AppError('STORE_FENCED', { internal: 'the epoch is gone' });
  return barriers.reduce((a, b) => (b < a ? b : a));
}

async function settleStream(holding: Holding, stream: StreamRecord, through: Lsn, signal: AbortSignal): Promise<void> {
  const { dependencies, project, token } = holding;
  const { store, faultPoint } = dependencies;
  const number = stream.stream;
  let after: BucketId | undefined;
  for (;;) {
    signal.throwIfAborted();
    const buckets = await store.readUnsettled(project, { stream: number, through, after, bucketsMax });
    const corrections = await correctionsOf(holding, { stream, through, buckets }, signal);
    const last = buckets.length < bucketsMax;
    await store.settleCopy(project, token, { stream: number, corrections, last });
    if (last) return;
    await faultPoint('sums corrected');
    after = buckets.at(-1)?.bucket;
  }
}

interface BucketReads {
  readonly stream: StreamRecord;
  readonly through: Lsn;
  readonly buckets: readonly UnsettledBucket[];
}

async function correctionsOf(holding: Holding, reads: BucketReads, signal: AbortSignal): Promise<Correction[]> {
  if (reads.buckets.length === 0) return [];
  const { dependencies, project } = holding;
  const { stream } = reads.stream;
  const refs = reads.buckets.map(({ bucket }) => ({ stream, bucket }));
  const counted = await dependencies.store.readSums(project, refs, reads.through);
  const live = await liveTotals(holding, reads, signal);
  return reads.buckets.flatMap(({ bucket }) => {
    const was = counted.get(bucket) ?? NOTHING;
    const is = live.get(bucket) ?? NOTHING;
    const checksumDelta = BigInt.asUintN(64, is.checksum - was.checksum);
    const rowsDelta = is.rows - was.rows;
    return rowsDelta === 0 && checksumDelta === 0n ? [] : [{ bucket, rowsDelta, checksumDelta }];
  });
}
const NOTHING: BucketTotals = { checksum: 0n, rows: 0 };

/** What the newest op of each row leaves in the buckets. */
async function liveTotals(
  holding: Holding,
  { stream, through, buckets }: BucketReads,
  signal: AbortSignal,
): Promise<Map<BucketId, BucketTotals>> {
  const { store } = holding.dependencies;
  const totals = new Map<BucketId, BucketTotals>();
  const slices = Math.max(1, ...buckets.map(({ ops }) => Math.ceil(ops / rowsHeldMax)));
  for (let slice = 0; slice < slices; slice++) {
    const newest = new NewestOps(planOf(stream), { slice, slices }, totals);
    let cursor: string | undefined;
    do {
      signal.throwIfAborted();
      const refs = buckets.map(({ bucket }) => ({ stream: stream.stream, bucket }));
      const page = await store.readChunks(holding.project, {
        buckets: refs,
        after: 0n as Lsn,
        through,
        bytesMax: chunkBytesMax,
        cursor,
      });
      for (const chunk of page.chunks) newest.add(chunk);
      cursor = page.next;
    } while (cursor !== undefined);
    newest.endBucket();
  }
  return totals;
}

interface NewestOp {
  readonly position: Position;
  /** Undefined when the row went. */
  readonly hash: bigint | undefined;
}

/** Adds up what is left of one bucket after the other, for the keys of one slice. */
class NewestOps {
  private readonly seed: number;
  private readonly slice: bigint;
  private readonly slices: bigint;
  private readonly totals: Map<BucketId, BucketTotals>;
  private readonly byKey = new Map<string, NewestOp>();
  private bucket: BucketId | undefined;

  constructor(
    plan: StreamPlan,
    { slice, slices }: { readonly slice: number; readonly slices: number },
    totals: Map<BucketId, BucketTotals>,
  ) {
    this.seed = tableSeed(plan.table.name);
    this.slice = BigInt(slice);
    this.slices = BigInt(slices);
    this.totals = totals;
  }

  add(chunk: StoredChunk): void {
    if (chunk.bucket !== this.bucket) this.endBucket();
    this.bucket = chunk.bucket;
    const entries = readDirectory(chunk.directory);
    const payload = chunk.codec === CODEC_DEFLATE_RAW ? inflateRawSync(chunk.payload) : chunk.payload;
    let index = 0;
    forEachOp(payload, (kind, start, end) => {
      const entry = entries[index++];
      if (!entry || entry.keyHash % this.slices !== this.slice) return;
      const key = Buffer.from(payload.buffer, payload.byteOffset + start, entry.keyBytes).toString('latin1');
      const known = this.byKey.get(key);
      if (known && comparePositions(known.position, entry.position) > 0) return;
      const hash = kind === OP_PUT ? rowHash(this.seed, payload.subarray(start, end)) : undefined;
      this.byKey.set(key, { position: entry.position, hash });
    });
  }

  endBucket(): void {
    const { bucket, byKey, totals } = this;
    if (bucket === undefined) return;
    let { checksum, rows } = totals.get(bucket) ?? NOTHING;
    for (const { hash } of byKey.values()) {
      if (hash === undefined) continue;
      checksum = BigInt.asUintN(64, checksum + hash);
      rows++;
    }
    totals.set(bucket, { checksum, rows });
    byKey.clear();
    this.bucket = undefined;
  }
}

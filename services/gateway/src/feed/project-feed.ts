import type { BucketRef, BucketStore, BucketTotals, StoredChunk } from '@sluice/bucket-store';
import type { BucketId, Checkpoint, Lsn, ProjectId } from '@sluice/domain';
import { AppError } from '@sluice/errors';
import { type BucketAnnouncement, encodeServerMessage } from '@sluice/protocol';
import { batched, type Span } from '../batch.ts';
import type { Step } from '../model.ts';
import { BucketRegistry, type KnownBucket, versionAt } from './bucket-registry.ts';
import type { ByteLru } from './byte-lru.ts';
import { pageReaderOf } from './read-chunks.ts';
import { type PackedOps, type PagedReduction, packBytes, readReducedPage, reduceBucket } from './reduce.ts';

/** Encoded `chunk` messages, ready for any session's wire; `next` continues. */
export interface FramePage {
  readonly frames: readonly Uint8Array[];
  readonly ops: number;
  readonly bytes: number;
  readonly next: string | undefined;
  /** What the page's chunks add to the bucket's totals; only for stretches of changes. */
  readonly delta: BucketTotals;
}
/** A whole checkpoint, encoded. */
export interface SharedFrames {
  readonly frames: readonly Uint8Array[];
  readonly bytes: number;
}
/** A whole bucket: encoded, or when it is too large for that, what its pages are made with. */
export type BucketContent =
  | { readonly kind: 'whole'; readonly ops: number; readonly page: FramePage }
  | { readonly kind: 'paged'; readonly ops: number; readonly reduction: PagedReduction };
/** What a process caches; shared by its projects, bounded together. */
export interface FeedCaches {
  readonly pages: ByteLru<FramePage>;
  readonly contents: ByteLru<BucketContent>;
  /** Runs reductions a few at a time: each may hold a whole bucket in memory. */
  readonly limitReductions: <T>(work: () => Promise<T>) => Promise<T>;
}

const NO_TOTALS: BucketTotals = { checksum: 0n, rows: 0 };
const EMPTY_PAGE: FramePage = { frames: [], ops: 0, bytes: 0, next: undefined, delta: NO_TOTALS };
const BUCKETS_PER_READ_MAX = 1000;
/** Different checkpoints of one position that are kept encoded. */
const SHARED_MAX = 1000;

/**
 * One project's buckets as encoded messages. Whatever several sessions need is read and encoded once: pages are cached by
 * (bucket, version before, version after), so sessions that come from different checkpoints of equal content share too.
 */
export class ProjectFeed {
  private readonly registry = new BucketRegistry();
  private readonly project: ProjectId;
  private readonly caches: FeedCaches;
  private readonly sharedByKey = new Map<string, Promise<SharedFrames | undefined>>();
  private sharedAt: Checkpoint | undefined;
  private readonly readPage;
  private readonly readSum;

  constructor(store: BucketStore, project: ProjectId, caches: FeedCaches) {
    this.project = project;
    this.caches = caches;
    this.readPage = pageReaderOf(store, project);
    this.readSum = batched<BucketRef, BucketTotals>({
      idOf: (ref) => ref.bucket,
      refsMax: BUCKETS_PER_READ_MAX,
      load: (span, refs) => store.readSums(project, refs, span.through),
    });
  }

  retain(ref: BucketRef, asOf: Lsn): void {
    this.registry.retain(ref, asOf);
  }
  release(bucket: BucketId): void {
    this.registry.release(bucket);
  }
  get bucketCount(): number {
    return this.registry.size;
  }

  /** Everything that changed is listed in the step; called before any session acts on it. */
  recordStep(step: Step): void {
    for (const bucket of step.buckets) this.registry.recordChange(bucket, step.lsn);
    if (step.truncated.size > 0) this.registry.forgetChangesOf((known) => step.truncated.has(known.stream), step.lsn);
  }
  /** What changed up to `lsn` is not known. */
  recordGap(lsn: Lsn): void {
    this.registry.forgetChanges(lsn);
  }

  announce(bucket: BucketId): BucketAnnouncement {
    const { no, stream } = this.registry.get(bucket);
    return { no, bucket, stream };
  }

  /** Encodes a checkpoint of these changed buckets once, for as long as it is the newest. */
  shared(
    checkpoint: Checkpoint,
    buckets: readonly BucketId[],
    span: Span,
    encode: () => Promise<SharedFrames | undefined>,
  ): Promise<SharedFrames | undefined> {
    if (this.sharedAt !== checkpoint) this.sharedByKey.clear();
    this.sharedAt = checkpoint;
    const key = buckets.map((bucket) => `${bucket}${versionAt(this.registry.get(bucket), span.after)}`).join();
    const known = this.sharedByKey.get(key);
    if (known) return known;
    const fresh = encode();
    if (this.sharedByKey.size < SHARED_MAX) this.sharedByKey.set(key, fresh);
    fresh.catch(() => this.sharedByKey.delete(key));
    return fresh;
  }

  /** The chunks of a stretch of changes, as stored. For clients whose grant of the bucket covers all of it (L13). */
  changes(bucket: BucketId, span: Span, cursor: string | undefined): Promise<FramePage> {
    const known = this.registry.get(bucket);
    const from = versionAt(known, span.after);
    const to = versionAt(known, span.through);
    if (from === to) return Promise.resolve(EMPTY_PAGE);
    const key = `${this.project}:${bucket}:${known.no}:${from}-${to}:${cursor ?? ''}`;
    return this.caches.pages.get(key, async () => {
      const page = await this.readPage(known, span, cursor);
      return framePage(known.no, page.chunks, page.next, deltaOf(page.chunks));
    });
  }

  /** The whole bucket at a checkpoint, page by page. `rows` is what the checkpoint's totals say. */
  async *content(bucket: BucketId, through: Lsn, rows: number): AsyncGenerator<FramePage> {
    const known = this.registry.get(bucket);
    const key = `${this.project}:${bucket}:${known.no}:${versionAt(known, through)}`;
    const content = await this.caches.contents.get(key, () =>
      this.caches.limitReductions(() => this.reduce(known, { after: 0n as Lsn, through })),
    );
    if (content.ops !== rows)
      throw new AppError('BUCKET_INCONSISTENT', {
        internal: `${content.ops} rows reduced, ${rows} counted`,
        details: { bucket },
      });
    if (content.kind === 'whole') {
      yield content.page;
      return;
    }
    let cursor: string | undefined;
    do {
      const at = cursor;
      const page = await this.caches.pages.get(`${key}:page:${at ?? ''}`, async () => {
        const { packs, next } = await readReducedPage(this.readPage, known, content.reduction, at);
        return framePage(known.no, packs, next, NO_TOTALS);
      });
      yield page;
      cursor = page.next;
    } while (cursor !== undefined);
  }

  private async reduce(known: KnownBucket, span: Span): Promise<BucketContent> {
    const reduction = await reduceBucket(this.readPage, known, span);
    const { ops } = reduction;
    if (reduction.kind === 'paged') return { kind: 'paged', ops, reduction };
    return { kind: 'whole', ops, page: framePage(known.no, reduction.packs, undefined, NO_TOTALS) };
  }

  /**
   * Checksum and rows of a bucket at a checkpoint (L9): the totals before plus what the stretch adds, when both are known,
   * else read. `changed` is the stretch that ends at `through`, if the caller has read all of it.
   */
  async totals(
    bucket: BucketId,
    through: Lsn,
    changed: { readonly after: Lsn; readonly page: FramePage } | undefined,
  ): Promise<BucketTotals> {
    const known = this.registry.get(bucket);
    const version = versionAt(known, through);
    if (known.totals?.version === version) return known.totals.value;
    const isComplete = changed !== undefined && changed.page.next === undefined;
    const value =
      isComplete && known.totals?.version === versionAt(known, changed.after)
        ? sumOf(known.totals.value, changed.page.delta)
        : ((await this.readSum({ after: through, through }, known)) ?? NO_TOTALS);
    if (!known.totals || known.totals.version < version) known.totals = { version, value };
    return value;
  }
}

function framePage(no: number, packs: readonly PackedOps[], next: string | undefined, delta: BucketTotals): FramePage {
  const frames = packs.map(({ codec, ops, payloadBytes, payload }) =>
    encodeServerMessage({ type: 'chunk', no, codec, ops, payloadBytes, payload }),
  );
  const ops = packs.reduce((sum, pack) => sum + pack.ops, 0);
  return { frames, ops, bytes: packBytes(packs), next, delta };
}

function deltaOf(chunks: readonly StoredChunk[]): BucketTotals {
  let checksum = 0n;
  let rows = 0;
  for (const chunk of chunks) {
    checksum += chunk.checksumDelta;
    rows += chunk.rowsDelta;
  }
  return { checksum: BigInt.asUintN(64, checksum), rows };
}
function sumOf(a: BucketTotals, b: BucketTotals): BucketTotals {
  return { checksum: BigInt.asUintN(64, a.checksum + b.checksum), rows: a.rows + b.rows };
}

export function framePageBytes(page: FramePage): number {
  return page.frames.reduce((sum, frame) => sum + frame.length, 0);
}
export function contentBytes(content: BucketContent): number {
  return content.kind === 'whole' ? framePageBytes(content.page) : content.reduction.live.bytes;
}

import type { BucketRef, BucketTotals, StoredChunk } from '@sluice/bucket-store';
import { type BucketId, type Checkpoint, isBarrier, type Lsn, type ProjectId, SEQ_SNAPSHOT } from '@sluice/domain';
import { AppError } from '@sluice/errors';
import { type BucketAnnouncement, encodeServerMessage } from '@sluice/protocol';
import { batched, type Span } from '../batch.ts';
import type { FairStore } from '../fair-store.ts';
import { breath, type FairTurns, type TurnKey } from '../fair-turns.ts';
import type { Step } from '../model.ts';
import { BucketRegistry, type KnownBucket, versionAt } from './bucket-registry.ts';
import type { ByteLru } from './byte-lru.ts';
import { pageReaderOf } from './read-chunks.ts';
import {
  type PackedOps,
  type PagedReduction,
  packBytes,
  type ReductionInput,
  readReducedPage,
  reduceBucket,
} from './reduce.ts';
import { reachesBack, trimmedChunk } from './trim-chunk.ts';

/** Encoded `chunk` messages, ready for any session's wire; `next` continues. */
export interface FramePage {
  readonly frames: readonly Uint8Array[];
  readonly ops: number;
  readonly bytes: number;
  readonly next: string | undefined;
  /** What the page's chunks add to the bucket's totals; only for stretches of changes, undefined when not known. */
  readonly delta: BucketTotals | undefined;
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
  /** Checkpoints that several sessions are sent as they are. */
  readonly shared: ByteLru<SharedFrames | undefined>;
  /** Turns for reductions, each of which holds tables of a bucket's rows in memory. */
  readonly reductions: FairTurns;
  /** Turns for pages: reading, reducing and encoding one takes the processor and the store for a while. */
  readonly slices: FairTurns;
}
/** Gives a page again for the same cursor; holds none of them. */
export type PageReader = (cursor: string | undefined) => Promise<FramePage>;

const NO_TOTALS: BucketTotals = { checksum: 0n, rows: 0 };
const EMPTY_PAGE: FramePage = { frames: [], ops: 0, bytes: 0, next: undefined, delta: NO_TOTALS };
const BUCKETS_PER_READ_MAX = 1000;
/** What knowing where a page begins costs, about. */
const PAGE_PLACE_BYTES = 200;

/**
 * One project's buckets as encoded messages. Whatever several sessions need is read and encoded once: pages are cached by
 * (bucket, version before, version after), so sessions that come from different checkpoints of equal content share too.
 */
export class ProjectFeed {
  private readonly registry = new BucketRegistry();
  private readonly project: ProjectId;
  private readonly caches: FeedCaches;
  private readonly readPage;
  private readonly readSum;

  constructor(store: FairStore, project: ProjectId, caches: FeedCaches) {
    this.project = project;
    this.caches = caches;
    this.readPage = pageReaderOf(store, project);
    this.readSum = batched<BucketRef, BucketTotals>({
      idOf: (ref) => ref.bucket,
      refsMax: BUCKETS_PER_READ_MAX,
      load: (span, take) => store.inTurn(project, (direct) => direct.readSums(project, take(), span.through)),
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

  /** Encodes a checkpoint of these changed buckets once. */
  shared(
    { epoch, lsn }: Checkpoint,
    buckets: readonly BucketId[],
    span: Span,
    encode: () => Promise<SharedFrames | undefined>,
  ): Promise<SharedFrames | undefined> {
    const versions = buckets.map((bucket) => {
      const known = this.registry.get(bucket);
      return `${known.no}:${versionAt(known, span.after)}`;
    });
    return this.caches.shared.get(`${this.project}:${epoch}:${lsn}:${versions.join()}`, encode);
  }

  /**
   * The chunks of a stretch of changes, as stored. For clients whose grant of the bucket covers all of it (L13). A transaction
   * that is larger than a frame has several chunks, of which the later ones may change rows of the earlier ones again: no version
   * that was never committed is sent.
   */
  changes(bucket: BucketId, span: Span, cursor: string | undefined): Promise<FramePage> {
    const known = this.registry.get(bucket);
    const from = versionAt(known, span.after);
    const to = versionAt(known, span.through);
    if (from === to) return Promise.resolve(EMPTY_PAGE);
    const stretch = `${this.project}:${bucket}:${known.no}:${from}-${to}`;
    return this.caches.pages.get(`${stretch}:${cursor ?? ''}`, async () => {
      const reduced = await this.caches.contents.peek(stretch);
      if (reduced?.kind === 'paged' && reduced.reduction.pages.has(cursor ?? ''))
        return this.reducedPage(stretch, known, reduced.reduction, cursor);
      const { chunks, next } = await this.readPage(known, span, cursor);
      if (chunks.some(endsWithinTransaction)) return this.reducedChanges(stretch, known, span, cursor);
      if (!chunks.some((chunk) => reachesBack(chunk, span.after)))
        return framePage(known.no, chunks, next, deltaOf(chunks));
      const packs = await Promise.all(
        chunks.map(async (chunk) => (reachesBack(chunk, span.after) ? trimmedChunk(chunk, span.after) : chunk)),
      );
      const left = packs.filter((pack) => pack.ops > 0);
      return framePage(known.no, left, next, undefined);
    });
  }

  /**
   * The whole bucket at a checkpoint. `rows` is what the checkpoint's totals say; `member` is whose turns it takes.
   * A bucket that is small enough is one page.
   */
  content(bucket: BucketId, { through, rows, member }: { through: Lsn; rows: number; member: object }): PageReader {
    const known = this.registry.get(bucket);
    const key = `${this.project}:${bucket}:${known.no}:${versionAt(known, through)}`;
    const turn = { group: String(this.project), member };
    const slice = this.slicerOf(turn);
    let paged: PagedReduction | undefined;
    const load = (): Promise<BucketContent> =>
      this.caches.reductions.run(turn, () => this.reduce(known, { span: { after: 0n as Lsn, through }, rows, slice }));
    return async (cursor) => {
      if (!paged) {
        const content = await this.caches.contents.get(key, load);
        if (content.ops !== rows) throw miscounted(bucket, content.ops, rows);
        if (content.kind === 'whole') return content.page;
        paged = content.reduction;
      }
      const reduction = paged;
      return this.caches.pages.get(`${key}:page:${cursor ?? ''}`, () =>
        slice(() => this.reducedPage(key, known, reduction, cursor)),
      );
    };
  }

  /** @param key of the reduction among the contents */
  private async reducedPage(
    key: string,
    known: KnownBucket,
    reduction: PagedReduction,
    cursor: string | undefined,
  ): Promise<FramePage> {
    try {
      const { packs, next } = await readReducedPage(this.readPage, known, reduction, cursor);
      return framePage(known.no, packs, next, undefined);
    } catch (error) {
      // Compaction rewrote the bucket: whoever comes next has it reduced anew.
      this.caches.contents.drop(key);
      throw error;
    }
  }

  /** The rest of a stretch of changes from this page on, without ops that a later one of the same row follows. */
  private async reducedChanges(
    stretch: string,
    known: KnownBucket,
    span: Span,
    from: string | undefined,
  ): Promise<FramePage> {
    const turn = { group: String(this.project), member: known };
    // One that begins at a later page is of no use here.
    this.caches.contents.drop(stretch);
    const content = await this.caches.contents.get(stretch, () =>
      this.caches.reductions.run(turn, () =>
        this.reduce(known, { span, rows: 0, slice: this.slicerOf(turn), stretch: { from } }),
      ),
    );
    if (content.kind === 'whole') return content.page;
    return this.reducedPage(stretch, known, content.reduction, from);
  }

  private slicerOf(turn: TurnKey): ReductionInput['slice'] {
    return (work) =>
      this.caches.slices.run(turn, async () => {
        const done = await work();
        await breath();
        return done;
      });
  }

  private async reduce(
    known: KnownBucket,
    input: Pick<ReductionInput, 'span' | 'rows' | 'slice' | 'stretch'>,
  ): Promise<BucketContent> {
    const reduction = await reduceBucket({ read: this.readPage, ref: known, ...input });
    const { ops } = reduction;
    if (reduction.kind === 'paged') return { kind: 'paged', ops, reduction };
    return { kind: 'whole', ops, page: framePage(known.no, reduction.packs, undefined, undefined) };
  }

  /**
   * Checksum and rows of a bucket at a checkpoint (L9): the totals before plus what the stretch adds, when both are known,
   * else read. `changed` is the stretch that ends at `through`, if the caller has read all of it.
   */
  async totals(
    bucket: BucketId,
    through: Lsn,
    changed: { readonly after: Lsn; readonly page: Pick<FramePage, 'next' | 'delta'> } | undefined,
  ): Promise<BucketTotals> {
    const known = this.registry.get(bucket);
    const version = versionAt(known, through);
    if (known.totals?.version === version) return known.totals.value;
    const isComplete = changed !== undefined && changed.page.next === undefined;
    const value =
      isComplete && changed.page.delta && known.totals?.version === versionAt(known, changed.after)
        ? sumOf(known.totals.value, changed.page.delta)
        : ((await this.readSum({ after: through, through }, known)) ?? NO_TOTALS);
    if (!known.totals || known.totals.version < version) known.totals = { version, value };
    return value;
  }
}

function framePage(
  no: number,
  packs: readonly PackedOps[],
  next: string | undefined,
  delta: FramePage['delta'],
): FramePage {
  const frames = packs.map(({ codec, ops, payloadBytes, payload }) =>
    encodeServerMessage({ type: 'chunk', no, codec, ops, payloadBytes, payload }),
  );
  const ops = packs.reduce((sum, pack) => sum + pack.ops, 0);
  return { frames, ops, bytes: packBytes(packs), next, delta };
}

/** The chunk is of a frame that was cut within a transaction. Copies are of no transaction. */
function endsWithinTransaction({ position }: StoredChunk): boolean {
  return !isBarrier(position) && position.seq !== SEQ_SNAPSHOT;
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

function miscounted(bucket: BucketId, reduced: number, counted: number): AppError {
  return new AppError('BUCKET_INCONSISTENT', {
    internal: `${reduced} rows reduced, ${counted} counted`,
    details: { bucket },
  });
}

export function framePageBytes(page: FramePage): number {
  return page.frames.reduce((sum, frame) => sum + frame.length, 0);
}
export function contentBytes(content: BucketContent): number {
  if (content.kind === 'whole') return framePageBytes(content.page);
  const { live, pages } = content.reduction;
  return live.bytes + pages.size * PAGE_PLACE_BYTES;
}
export function sharedBytes(shared: SharedFrames | undefined): number {
  return shared?.bytes ?? 0;
}

import type { BucketTotals } from '@sluice/bucket-store';
import type { BucketId, Checkpoint, Lsn } from '@sluice/domain';
import { AppError } from '@sluice/errors';
import { type BucketSum, encodeServerMessage } from '@sluice/protocol';
import type { StepPlan } from './plan-step.ts';
import type { FramePage, PageReader, ProjectFeed, SharedFrames } from './project-feed.ts';

/** Where encoded messages go. */
export interface FrameSink {
  /** Sends the frames in one write. */
  send(frames: readonly Uint8Array[]): void;
  /** Whether `ready` would resolve at once. */
  readonly isReady: boolean;
  /** Resolves when there is room; rejects when the connection is over. */
  ready(): Promise<void>;
}

export interface CheckpointToSend {
  readonly checkpoint: Checkpoint;
  /** The checkpoint after which extended buckets' changes begin. */
  readonly after: Lsn;
  readonly reset: boolean;
  readonly plan: StepPlan;
  /** Whose turns the work takes: the session. */
  readonly member: object;
  /** Encoded messages that go before `checkpoint`. */
  readonly prelude: readonly Uint8Array[];
  /** Called when the first byte is about to leave: from here on a failure costs the connection. */
  readonly onBegin: () => void;
  /** Called before `checkpoint-end`: throws when what was sent can no longer be trusted to be of one checkpoint. */
  readonly confirm: () => void;
}

/** Buckets of a checkpoint that is encoded once for everybody who needs exactly it. */
const SHARED_BUCKETS_MAX = 8;
/** Buckets whose first pages are read together, and rows of theirs; bounds what one session makes us hold. */
const GROUP_BUCKETS_MAX = 32;
const GROUP_ROWS_MAX = 20_000;
/** Frames are gathered up to this size, so that a small checkpoint leaves in one write. Bytes. */
const WRITE_BYTES = 64 * 1024;

/**
 * Sends one checkpoint from `checkpoint` to `checkpoint-end`, under the sink's back-pressure. Returns the bytes sent.
 */
export async function sendCheckpoint(feed: ProjectFeed, step: CheckpointToSend, sink: FrameSink): Promise<number> {
  const shared = await sharedFrames(feed, step);
  if (!shared) return sendPageByPage(feed, step, sink);
  step.onBegin();
  step.confirm();
  sink.send(shared.frames);
  return shared.bytes;
}

/**
 * A checkpoint of few changed buckets, whole: the usual case, in which every subscriber of a bucket is sent the very same
 * bytes. Undefined when it is not so simple, or too large to be sent without looking at the buffers in between.
 */
function sharedFrames(feed: ProjectFeed, step: CheckpointToSend): Promise<SharedFrames | undefined> | undefined {
  const { plan, prelude, reset, checkpoint } = step;
  if (reset || prelude.length + plan.drop.length + plan.replace.length > 0 || plan.extend.length > SHARED_BUCKETS_MAX)
    return undefined;
  const span = { after: step.after, through: checkpoint.lsn };
  return feed.shared(checkpoint, plan.extend, span, async () => {
    const pages = await firstPagesOf(feed, plan.extend, span);
    const bytes = pages.reduce((sum, page) => sum + page.bytes, 0);
    if (bytes > WRITE_BYTES || pages.some((page) => page.next !== undefined)) return undefined;
    const totals = await Promise.all(
      plan.extend.map((bucket, i) => feed.totals(bucket, span.through, changedBy(step, pages[i]))),
    );
    const sums = plan.extend.map((bucket, i) => sumOf(feed, bucket, totals[i] as BucketTotals));
    const frames = [
      checkpointMessage(feed, step, knownSize(pages, [])),
      ...pages.flatMap((page) => page.frames),
      encodeServerMessage({ type: 'checkpoint-end', epoch: checkpoint.epoch, lsn: checkpoint.lsn, sums }),
    ];
    return { frames, bytes: frames.reduce((sum, frame) => sum + frame.length, 0) };
  });
}

async function sendPageByPage(feed: ProjectFeed, step: CheckpointToSend, sink: FrameSink): Promise<number> {
  const { checkpoint, plan, member } = step;
  const { epoch, lsn } = checkpoint;
  const span = { after: step.after, through: lsn };
  const extendGroups = groupsOf(plan.extend, () => 0);
  const replaceTotals = await Promise.all(plan.replace.map((bucket) => feed.totals(bucket, lsn, undefined)));
  const rowsOf = new Map(plan.replace.map((bucket, i) => [bucket, (replaceTotals[i] as BucketTotals).rows]));
  const firstSizes = (await firstPagesOf(feed, extendGroups[0] ?? [], span)).map(sizeOf);
  const writer = new GatheringWriter(sink);
  step.onBegin();
  for (const frame of step.prelude) writer.add(frame);
  writer.add(checkpointMessage(feed, step, knownSize(firstSizes, replaceTotals)));
  const sums: BucketSum[] = plan.replace.map((bucket, i) => sumOf(feed, bucket, replaceTotals[i] as BucketTotals));
  for (const [i, group] of extendGroups.entries()) {
    // As with replaced buckets, the caches alone keep the pages.
    if (i > 0) await firstPagesOf(feed, group, span);
    for (const bucket of group) {
      const first = await sendPages((cursor) => feed.changes(bucket, span, cursor), writer);
      sums.push(sumOf(feed, bucket, await feed.totals(bucket, lsn, { after: step.after, page: first })));
    }
  }
  const rows = (bucket: BucketId): number => rowsOf.get(bucket) ?? 0;
  const readersOf = (group: readonly BucketId[] = []): PageReader[] =>
    group.map((bucket) => feed.content(bucket, { through: lsn, rows: rows(bucket), member }));
  const groups = groupsOf(plan.replace, rows);
  let ahead = readersOf(groups[0]);
  for (let i = 0; i < groups.length; i++) {
    const readers = ahead;
    await warm(readers);
    ahead = readersOf(groups[i + 1]);
    if (sink.isReady) readAhead(ahead);
    for (const read of readers) await sendPages(read, writer);
  }
  step.confirm();
  writer.add(encodeServerMessage({ type: 'checkpoint-end', epoch, lsn, sums }));
  writer.flush();
  return writer.bytes;
}

/** Small buckets are read together. Their pages are kept by the caches alone: a session holds none of them. */
async function warm(readers: readonly PageReader[]): Promise<void> {
  await Promise.all(readers.map((read) => read(undefined)));
}
/** The store works on what comes next while this is sent. A failure shows when its turn has come. */
function readAhead(readers: readonly PageReader[]): void {
  warm(readers).catch(() => {});
}

type PageSize = Omit<FramePage, 'frames'>;
function sizeOf({ ops, bytes, next, delta }: FramePage): PageSize {
  return { ops, bytes, next, delta };
}

/** Where the sending of a run of pages stands. */
interface Place {
  readonly cursor: string | undefined;
  /** Frames of the page that were sent. */
  readonly sent: number;
  /** The page as it was, once some of it was sent. */
  readonly page: PageSize | undefined;
}

/**
 * Sends all pages of a run. While the client takes nothing, only the place is kept, and the page is read again, mostly
 * from the cache: what a client costs that does not read is its send buffer (L16). Returns the first page's size.
 */
async function sendPages(read: PageReader, writer: GatheringWriter): Promise<PageSize> {
  let first: PageSize | undefined;
  let place: Place | undefined = { cursor: undefined, sent: 0, page: undefined };
  do {
    const done = await sendWhatFits(read, writer, place);
    first ??= done.page;
    place = done.next;
    await writer.ready();
  } while (place);
  return first;
}

async function sendWhatFits(
  read: PageReader,
  writer: GatheringWriter,
  { cursor, sent, page: before }: Place,
): Promise<{ page: PageSize; next: Place | undefined }> {
  const page = await read(cursor);
  const size = sizeOf(page);
  if (before && (before.ops !== size.ops || before.bytes !== size.bytes || before.next !== size.next))
    throw new AppError('SESSION_RESTART', { internal: 'a page was rewritten' });
  for (let i = sent; i < page.frames.length; i++) {
    writer.add(page.frames[i] as Uint8Array);
    const isLast = i + 1 === page.frames.length;
    if (!isLast && !writer.takesMore()) return { page: size, next: { cursor, sent: i + 1, page: size } };
  }
  const next = page.next === undefined ? undefined : { cursor: page.next, sent: 0, page: undefined };
  return { page: size, next };
}

function checkpointMessage(
  feed: ProjectFeed,
  { checkpoint, reset, plan }: CheckpointToSend,
  size: { totalOps: number; totalBytes: number },
): Uint8Array {
  return encodeServerMessage({
    type: 'checkpoint',
    epoch: checkpoint.epoch,
    lsn: checkpoint.lsn,
    committedAtMs: checkpoint.committedAtMs,
    reset,
    drop: plan.drop,
    replace: plan.replace.map((bucket) => feed.announce(bucket)),
    extend: plan.extend.map((bucket) => feed.announce(bucket)),
    ...size,
  });
}

function changedBy(step: CheckpointToSend, page: FramePage | undefined): { after: Lsn; page: PageSize } | undefined {
  return page && { after: step.after, page };
}

function firstPagesOf(
  feed: ProjectFeed,
  buckets: readonly BucketId[],
  span: { after: Lsn; through: Lsn },
): Promise<FramePage[]> {
  return Promise.all(buckets.map((bucket) => feed.changes(bucket, span, undefined)));
}

/** For progress alone: rows of replaced buckets are counted, changes beyond the first pages are not. */
function knownSize(
  firstPages: readonly PageSize[],
  totals: readonly BucketTotals[],
): { totalOps: number; totalBytes: number } {
  const totalOps =
    firstPages.reduce((sum, page) => sum + page.ops, 0) + totals.reduce((sum, total) => sum + total.rows, 0);
  const isWhole = totals.length === 0 && firstPages.every((page) => page.next === undefined);
  return { totalOps, totalBytes: isWhole ? firstPages.reduce((sum, page) => sum + page.bytes, 0) : 0 };
}

function sumOf(feed: ProjectFeed, bucket: BucketId, { checksum, rows }: BucketTotals): BucketSum {
  return { no: feed.announce(bucket).no, checksum, rows };
}

function groupsOf(buckets: readonly BucketId[], rowsOf: (bucket: BucketId) => number): BucketId[][] {
  const groups: BucketId[][] = [];
  let open: BucketId[] = [];
  let rows = 0;
  for (const bucket of buckets) {
    rows += rowsOf(bucket);
    if (open.length > 0 && (open.length === GROUP_BUCKETS_MAX || rows > GROUP_ROWS_MAX)) {
      groups.push(open);
      open = [];
      rows = rowsOf(bucket);
    }
    open.push(bucket);
  }
  if (open.length > 0) groups.push(open);
  return groups;
}

class GatheringWriter {
  bytes = 0;
  private frames: Uint8Array[] = [];
  private gathered = 0;
  private readonly sink: FrameSink;

  constructor(sink: FrameSink) {
    this.sink = sink;
  }
  add(frame: Uint8Array): void {
    this.frames.push(frame);
    this.gathered += frame.length;
    this.bytes += frame.length;
  }
  /** Lets what is gathered leave once it is a write's worth. False when the client must take some of it first. */
  takesMore(): boolean {
    if (this.gathered < WRITE_BYTES) return true;
    this.flush();
    return this.sink.isReady;
  }
  async ready(): Promise<void> {
    if (!this.sink.isReady) await this.sink.ready();
  }
  flush(): void {
    if (this.frames.length > 0) this.sink.send(this.frames);
    this.frames = [];
    this.gathered = 0;
  }
}

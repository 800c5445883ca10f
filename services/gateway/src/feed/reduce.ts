import { createHash } from 'node:crypto';
import type { BucketRef, StoredChunk } from '@sluice/bucket-store';
import { ByteWriter } from '@sluice/domain';
import { AppError } from '@sluice/errors';
import { forEachOp } from '@sluice/protocol';
import type { Span } from '../batch.ts';
import { deflatedIfSmaller, type EncodedPayload, inflated } from '../payload.ts';
import { LiveOps } from './live-ops.ts';
import type { ReadBucketPage } from './read-chunks.ts';

/** Size at which a packed payload is closed. Bytes. */
const PACK_BYTES = 256 * 1024;
/** A chunk of only live rows at or above this size is forwarded as it is stored. Bytes. */
const FORWARD_BYTES_MIN = 64 * 1024;
/** A bucket of at most this many payload bytes is reduced in one pass; a larger one is read a second time. */
const WHOLE_BYTES_MAX = 4 * 1024 * 1024;
/** Rows that are told apart in one pass: about 40 bytes each. A larger bucket is read once for each part of its rows. */
const ROWS_PER_PASS_MAX = 512 * 1024;
/** So many times more rows than the totals say can only be removed ones. */
const PARTS_MAX = 1024;

export interface PackedOps extends EncodedPayload {
  readonly ops: number;
}
/** A bucket at one checkpoint, or a stretch of its changes: the newest version of each row and nothing else (L13). */
export type Reduction =
  | { readonly kind: 'whole'; readonly ops: number; readonly packs: readonly PackedOps[] }
  | PagedReduction;
/** Too large to hold: its chunks are read again, page by page, as the client takes them. */
export interface PagedReduction {
  readonly kind: 'paged';
  readonly ops: number;
  readonly span: Span;
  readonly live: LiveOps;
  readonly pages: PageIndex;
}
/** Number of the first op of each page, by the page's cursor; '' for the first page. */
type PageIndex = ReadonlyMap<string, PagePlace>;
interface PagePlace {
  readonly firstOp: number;
  readonly ops: number;
  /** Of its chunks' positions and sizes: equal when nothing was rewritten. */
  readonly shape: string;
}

export interface ReductionInput {
  readonly read: ReadBucketPage;
  readonly ref: BucketRef;
  readonly span: Span;
  /** As the bucket's totals say: decides into how many parts its rows are split. */
  readonly rows: number;
  /**
   * The page of a stretch of changes from which on it is reduced: the newest op of each row stays, removes as well. Without
   * it the result is the whole bucket.
   */
  readonly stretch?: { readonly from: string | undefined };
  /** Runs the work on one page when it is its turn. */
  readonly slice: <T>(work: () => Promise<T>) => Promise<T>;
  readonly rowsPerPassMax?: number;
}

interface OpenChunk {
  readonly chunk: StoredChunk;
  readonly payload: Uint8Array;
}

/** @throws AppError BUCKET_INCONSISTENT, SESSION_RESTART */
export async function reduceBucket(input: ReductionInput): Promise<Reduction> {
  const { rows, rowsPerPassMax = ROWS_PER_PASS_MAX } = input;
  for (let parts = Math.max(1, Math.ceil(rows / rowsPerPassMax)); parts <= PARTS_MAX; parts *= 2) {
    const reduction = await new ReducingRun(input, parts, rowsPerPassMax * 2).run();
    if (reduction) return reduction;
  }
  throw new AppError('BUCKET_INCONSISTENT', { internal: 'far more rows than counted' });
}

/** Reads the bucket once for each part of its rows, so that memory is bounded however large it is (L16). */
class ReducingRun {
  private readonly input: ReductionInput;
  private readonly parts: number;
  private readonly live: LiveOps;
  private readonly pages = new Map<string, PagePlace>();
  /** The payloads, as long as they are few. */
  private kept: OpenChunk[] | undefined;
  private payloadBytes = 0;

  constructor(input: ReductionInput, parts: number, rowsMax: number) {
    this.input = input;
    this.parts = parts;
    this.live = new LiveOps(rowsMax, input.stretch && input.span.after);
    this.kept = parts === 1 ? [] : undefined;
  }

  /** Undefined when a part has more rows than it may. */
  async run(): Promise<Reduction | undefined> {
    for (let part = 0; part < this.parts; part++) {
      this.live.beginPart(part, this.parts);
      if (!(await this.readAll())) return undefined;
    }
    this.live.finish();
    const { live, pages, kept } = this;
    if (!kept) return { kind: 'paged', ops: live.liveOps, span: this.input.span, live, pages };
    return { kind: 'whole', ops: live.liveOps, packs: await this.input.slice(() => packLive(kept, live, 0)) };
  }

  private async readAll(): Promise<boolean> {
    let firstOp = 0;
    let cursor = this.input.stretch?.from;
    do {
      const at = cursor;
      const page = await this.input.slice(() => this.readPage(at));
      this.place(at ?? '', { firstOp, ops: page.ops, shape: page.shape });
      if (this.live.isOverfull) return false;
      firstOp += page.ops;
      cursor = page.next;
    } while (cursor !== undefined);
    return true;
  }

  private async readPage(
    cursor: string | undefined,
  ): Promise<Omit<PagePlace, 'firstOp'> & { next: string | undefined }> {
    const page = await this.input.read(this.input.ref, this.input.span, cursor);
    let ops = 0;
    for (const chunk of page.chunks) {
      const payload = await inflated(chunk);
      ops += this.live.offer(chunk.directory, payload);
      this.payloadBytes += payload.length;
      if (this.payloadBytes > WHOLE_BYTES_MAX) this.kept = undefined;
      this.kept?.push({ chunk, payload });
    }
    return { ops, shape: shapeOf(page.chunks), next: page.next };
  }

  private place(cursor: string, place: PagePlace): void {
    const before = this.pages.get(cursor);
    if (before && (before.firstOp !== place.firstOp || before.shape !== place.shape)) throw rewritten();
    this.pages.set(cursor, place);
  }
}

/** One page of a bucket that is too large to hold. @throws AppError SESSION_RESTART */
export async function readReducedPage(
  read: ReadBucketPage,
  ref: BucketRef,
  reduction: PagedReduction,
  cursor: string | undefined,
): Promise<{ packs: PackedOps[]; next: string | undefined }> {
  const page = await read(ref, reduction.span, cursor);
  const opened: OpenChunk[] = [];
  for (const chunk of page.chunks) opened.push({ chunk, payload: await inflated(chunk) });
  const expected = reduction.pages.get(cursor ?? '');
  if (expected?.shape !== shapeOf(page.chunks)) throw rewritten();
  return { packs: await packLive(opened, reduction.live, expected.firstOp), next: page.next };
}

function shapeOf(chunks: readonly StoredChunk[]): string {
  const hash = createHash('sha256');
  for (const { position, part, ops, payload } of chunks)
    hash.update(`${position.lsn} ${position.seq} ${part} ${ops} ${payload.length};`);
  return hash.digest('base64');
}

/** Compaction rewrote the chunks between two readings of them; numbers of their ops then mean nothing. */
function rewritten(): AppError {
  return new AppError('SESSION_RESTART', { internal: 'a bucket was rewritten' });
}

/** Live ops in packs of about PACK_BYTES. A large chunk without dead ops passes through untouched. */
async function packLive(chunks: readonly OpenChunk[], live: LiveOps, firstOp: number): Promise<PackedOps[]> {
  const packs: PackedOps[] = [];
  const open = new ByteWriter(openBytes(chunks));
  let openOps = 0;
  const close = async (): Promise<void> => {
    const written = open.written();
    const encoded = await deflatedIfSmaller(written);
    // The writer is used again.
    const payload = encoded.payload === written ? open.take() : encoded.payload;
    if (openOps > 0) packs.push({ ...encoded, payload, ops: openOps });
    open.reset();
    openOps = 0;
  };
  let op = firstOp;
  for (const { chunk, payload } of chunks) {
    const isWhole = isAllLive(live, op, chunk.ops);
    if (isWhole && payload.length >= FORWARD_BYTES_MIN) {
      const { codec, payload: stored, payloadBytes, ops } = chunk;
      packs.push({ codec, payload: stored, payloadBytes, ops });
    } else if (isWhole) {
      open.raw(payload);
      openOps += chunk.ops;
      if (open.length >= PACK_BYTES) await close();
    } else {
      for (const { start, end } of liveSpans(payload, live, op)) {
        open.raw(payload, start, end);
        openOps++;
        if (open.length >= PACK_BYTES) await close();
      }
    }
    op += chunk.ops;
  }
  await close();
  return packs;
}

/** What a pack may hold before it is closed, so that it seldom grows. */
function openBytes(chunks: readonly OpenChunk[]): number {
  const all = chunks.reduce((sum, { payload }) => sum + payload.length, 0);
  return Math.max(1, Math.min(all, PACK_BYTES + FORWARD_BYTES_MIN));
}

function liveSpans(payload: Uint8Array, live: LiveOps, firstOp: number): { start: number; end: number }[] {
  const spans: { start: number; end: number }[] = [];
  let op = firstOp;
  let start = 0;
  forEachOp(payload, (_kind, _start, end) => {
    if (live.isLive(op++)) spans.push({ start, end });
    start = end;
  });
  return spans;
}

function isAllLive(live: LiveOps, firstOp: number, count: number): boolean {
  for (let op = firstOp; op < firstOp + count; op++) if (!live.isLive(op)) return false;
  return true;
}

export function packBytes(packs: readonly PackedOps[]): number {
  return packs.reduce((sum, pack) => sum + pack.payload.length, 0);
}

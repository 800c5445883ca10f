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
const WHOLE_BYTES_MAX = 16 * 1024 * 1024;

export interface PackedOps extends EncodedPayload {
  readonly ops: number;
}
/** A bucket at one checkpoint: the newest version of each live row and nothing else (L13). */
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
type PageIndex = ReadonlyMap<string, { readonly firstOp: number; readonly ops: number }>;

interface OpenChunk {
  readonly chunk: StoredChunk;
  readonly payload: Uint8Array;
}

export async function reduceBucket(read: ReadBucketPage, ref: BucketRef, span: Span): Promise<Reduction> {
  const live = new LiveOps();
  const pages = new Map<string, { firstOp: number; ops: number }>();
  let kept: OpenChunk[] | undefined = [];
  let payloadBytes = 0;
  let firstOp = 0;
  let cursor: string | undefined;
  do {
    const page = await read(ref, span, cursor);
    let ops = 0;
    for (const chunk of page.chunks) {
      const payload = await inflated(chunk);
      ops += live.offer(chunk.directory, payload);
      payloadBytes += payload.length;
      if (payloadBytes > WHOLE_BYTES_MAX) kept = undefined;
      kept?.push({ chunk, payload });
    }
    pages.set(cursor ?? '', { firstOp, ops });
    firstOp += ops;
    cursor = page.next;
  } while (cursor !== undefined);
  live.finish();
  if (kept) return { kind: 'whole', ops: live.liveOps, packs: await packLive(kept, live, 0) };
  return { kind: 'paged', ops: live.liveOps, span, live, pages };
}

/** One page of a bucket that is too large to hold. */
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
  const ops = opened.reduce((sum, { chunk }) => sum + chunk.ops, 0);
  // Compaction may have rewritten the chunks between the two passes; their op numbers then mean nothing.
  if (!expected || expected.ops !== ops) throw new AppError('SESSION_RESTART', { internal: 'a bucket was rewritten' });
  return { packs: await packLive(opened, reduction.live, expected.firstOp), next: page.next };
}

/** Live ops in packs of about PACK_BYTES. A large chunk without dead ops passes through untouched. */
async function packLive(chunks: readonly OpenChunk[], live: LiveOps, firstOp: number): Promise<PackedOps[]> {
  const packs: PackedOps[] = [];
  const open = new ByteWriter(4096);
  let openOps = 0;
  const close = async (): Promise<void> => {
    if (openOps > 0) packs.push({ ops: openOps, ...(await deflatedIfSmaller(open.take())) });
    open.reset();
    openOps = 0;
  };
  let op = firstOp;
  for (const { chunk, payload } of chunks) {
    if (payload.length >= FORWARD_BYTES_MIN && isAllLive(live, op, chunk.ops)) {
      const { codec, payload: stored, payloadBytes, ops } = chunk;
      packs.push({ codec, payload: stored, payloadBytes, ops });
      op += chunk.ops;
      continue;
    }
    let opStart = 0;
    const liveSpans: number[] = [];
    forEachOp(payload, (_kind, _start, end) => {
      if (live.isLive(op++)) liveSpans.push(opStart, end);
      opStart = end;
    });
    for (let i = 0; i < liveSpans.length; i += 2) {
      open.raw(payload, liveSpans[i], liveSpans[i + 1]);
      openOps++;
      if (open.length >= PACK_BYTES) await close();
    }
  }
  await close();
  return packs;
}

function isAllLive(live: LiveOps, firstOp: number, count: number): boolean {
  for (let op = firstOp; op < firstOp + count; op++) if (!live.isLive(op)) return false;
  return true;
}

export function packBytes(packs: readonly PackedOps[]): number {
  return packs.reduce((sum, pack) => sum + pack.payload.length, 0);
}

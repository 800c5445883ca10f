import type { BucketRef, StoredChunk } from '@sluice/bucket-store';
import type { BucketId, ProjectId } from '@sluice/domain';
import { batched, type Span } from '../batch.ts';
import type { FairStore } from '../fair-store.ts';

/** Some chunks of one bucket, in order; `next` continues. */
export interface BucketPage {
  readonly chunks: readonly StoredChunk[];
  readonly next: string | undefined;
}
export type ReadBucketPage = (ref: BucketRef, span: Span, cursor: string | undefined) => Promise<BucketPage>;

/** Bytes of one store read. A bucket that a shared read did not finish is read again by itself. */
const PAGE_BYTES_MAX = 1024 * 1024;
/** Bytes of the first pages that many buckets' sessions share. */
const SHARED_BYTES_MAX = 4 * 1024 * 1024;
const BUCKETS_PER_READ_MAX = 256;

/** First pages are read for many buckets at once; later pages belong to one bucket. */
export function pageReaderOf(store: FairStore, project: ProjectId): ReadBucketPage {
  const readAlone: ReadBucketPage = (ref, span, cursor) =>
    store.readChunks(project, { buckets: [ref], ...span, bytesMax: PAGE_BYTES_MAX, cursor });
  const readShared = batched<BucketRef, BucketPage>({
    idOf: (ref) => ref.bucket,
    refsMax: BUCKETS_PER_READ_MAX,
    load: (span, take) =>
      store.inTurn(project, async (direct) => {
        const refs = take();
        const bytesMax = refs.length === 1 ? PAGE_BYTES_MAX : SHARED_BYTES_MAX;
        const page = await direct.readChunks(project, { buckets: refs, ...span, bytesMax, cursor: undefined });
        const [first] = refs;
        return first && refs.length === 1 ? new Map([[first.bucket, page]]) : pagesByBucket(refs, page);
      }),
  });
  return async (ref, span, cursor) => {
    if (cursor !== undefined) return readAlone(ref, span, cursor);
    return (await readShared(span, ref)) ?? readAlone(ref, span, undefined);
  };
}

/**
 * Splits a shared page. Of an unfinished one, only what stands before its last bucket is known to be whole. A bucket that
 * alone would be several pages is left out: where its pages begin must not depend on who was read with it.
 */
function pagesByBucket(refs: readonly BucketRef[], page: BucketPage): Map<BucketId, BucketPage> {
  const chunksByBucket = new Map<BucketId, StoredChunk[]>();
  for (const { bucket } of page.next === undefined ? refs : []) chunksByBucket.set(bucket, []);
  for (const chunk of page.chunks) {
    const chunks = chunksByBucket.get(chunk.bucket);
    if (chunks) chunks.push(chunk);
    else chunksByBucket.set(chunk.bucket, [chunk]);
  }
  const unfinished = page.next === undefined ? undefined : page.chunks.at(-1)?.bucket;
  const pages = new Map<BucketId, BucketPage>();
  for (const [bucket, chunks] of chunksByBucket)
    if (bucket !== unfinished && storedBytes(chunks) < PAGE_BYTES_MAX) pages.set(bucket, { chunks, next: undefined });
  return pages;
}

/** As the store counts them. */
function storedBytes(chunks: readonly StoredChunk[]): number {
  return chunks.reduce((sum, { directory, payload }) => sum + directory.length + payload.length, 0);
}

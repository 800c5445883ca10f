import type { BucketRef, StoredChunk } from '@sluice/bucket-store';
import type { BucketId, ProjectId } from '@sluice/domain';
import { batched, type Span } from '../batch.ts';
import type { StoreReads } from '../model.ts';

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
export function pageReaderOf(store: StoreReads, project: ProjectId): ReadBucketPage {
  const readAlone: ReadBucketPage = (ref, span, cursor) =>
    store.readChunks(project, { buckets: [ref], ...span, bytesMax: PAGE_BYTES_MAX, cursor });
  const readShared = batched<BucketRef, BucketPage>({
    idOf: (ref) => ref.bucket,
    refsMax: BUCKETS_PER_READ_MAX,
    load: async (span, refs) => {
      const [first] = refs;
      if (first && refs.length === 1) return new Map([[first.bucket, await readAlone(first, span, undefined)]]);
      const page = await store.readChunks(project, {
        buckets: refs,
        ...span,
        bytesMax: SHARED_BYTES_MAX,
        cursor: undefined,
      });
      return pagesByBucket(refs, page);
    },
  });
  return async (ref, span, cursor) => {
    if (cursor !== undefined) return readAlone(ref, span, cursor);
    return (await readShared(span, ref)) ?? readAlone(ref, span, undefined);
  };
}

/** Splits a shared page. Of an unfinished one, only what stands before its last bucket is known to be whole. */
function pagesByBucket(refs: readonly BucketRef[], page: BucketPage): Map<BucketId, BucketPage> {
  const chunksByBucket = new Map<BucketId, StoredChunk[]>();
  for (const chunk of page.chunks) {
    const chunks = chunksByBucket.get(chunk.bucket);
    if (chunks) chunks.push(chunk);
    else chunksByBucket.set(chunk.bucket, [chunk]);
  }
  const pages = new Map<BucketId, BucketPage>();
  if (page.next === undefined) {
    for (const { bucket } of refs) pages.set(bucket, { chunks: chunksByBucket.get(bucket) ?? [], next: undefined });
    return pages;
  }
  const last = page.chunks.at(-1)?.bucket;
  for (const [bucket, chunks] of chunksByBucket) if (bucket !== last) pages.set(bucket, { chunks, next: undefined });
  return pages;
}

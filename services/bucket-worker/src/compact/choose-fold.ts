import type { ChunkOutline } from '@sluice/bucket-store';

/** A run of older chunks joins the newer ones when it has at most this many times their ops (size-tiered merging). */
const TIER_RATIO = 2;

/**
 * Which of a bucket's chunks to fold, as a run without gaps; empty when it does not pay. Folding a tail of chunks of like
 * sizes keeps their number logarithmic and writes each op a logarithmic number of times. `thorough` folds the whole bucket
 * whenever it holds anything but live rows, so that what is older than the retention leaves.
 *
 * @param chunks all at or below the read floor, in order
 */
export function chooseFold(chunks: readonly ChunkOutline[], thorough: boolean): readonly ChunkOutline[] {
  const ops = sum(chunks, (chunk) => chunk.ops);
  const rows = sum(chunks, (chunk) => chunk.rowsDelta);
  if (thorough && ops !== rows) return chunks;
  let from = chunks.length - 1;
  for (let gathered = chunks[from]?.ops ?? 0; from > 0; from--) {
    const older = (chunks[from - 1] as ChunkOutline).ops;
    if (older > gathered * TIER_RATIO) break;
    gathered += older;
  }
  const run = chunks.slice(Math.max(from, 0));
  return run.length > 1 ? run : [];
}

function sum(chunks: readonly ChunkOutline[], of: (chunk: ChunkOutline) => number): number {
  return chunks.reduce((total, chunk) => total + of(chunk), 0);
}

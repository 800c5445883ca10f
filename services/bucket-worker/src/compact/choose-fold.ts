import type { ChunkOutline } from '@sluice/bucket-store';

/** A run of older chunks joins the newer ones when it has at most this many times their ops (size-tiered merging). */
const TIER_RATIO = 2;

/**
 * Which of a bucket's chunks to fold, as a run without gaps; empty when it does not pay. Folding neighbours of like
 * sizes keeps their number logarithmic and writes each op a logarithmic number of times. `thorough` folds the whole bucket
 * whenever it holds anything but live rows, so that what is older than the retention leaves.
 *
 * @param chunks all at or below the read floor, in order
 */
export function chooseFold(chunks: readonly ChunkOutline[], thorough: boolean): readonly ChunkOutline[] {
  const ops = sum(chunks, (chunk) => chunk.ops);
  const rows = sum(chunks, (chunk) => chunk.rowsDelta);
  if (thorough && ops !== rows) return chunks;
  let longest: readonly ChunkOutline[] = [];
  for (let end = chunks.length; end > 1; end--) {
    const run = chunks.slice(tierStart(chunks, end), end);
    if (run.length > Math.max(longest.length, 1)) longest = run;
  }
  return longest;
}

/** Where the run begins that ends before `end`, going back while the next older chunk is of like size. */
function tierStart(chunks: readonly ChunkOutline[], end: number): number {
  let start = end - 1;
  let gathered = chunks[start]?.ops ?? 0;
  for (; start > 0; start--) {
    const older = (chunks[start - 1] as ChunkOutline).ops;
    if (older > gathered * TIER_RATIO) break;
    gathered += older;
  }
  return start;
}

function sum(chunks: readonly ChunkOutline[], of: (chunk: ChunkOutline) => number): number {
  return chunks.reduce((total, chunk) => total + of(chunk), 0);
}

import { inflateRawSync } from 'node:zlib';
import type { BucketRef, BucketStore, BucketTotals, ChunkWrite, StoredChunk } from '@sluice/bucket-store';
import {
  comparePositions,
  hexFromBytes,
  type Lsn,
  type Position,
  type ProjectId,
  rowHash,
  tableSeed,
} from '@sluice/domain';
import { CODEC_DEFLATE_RAW, forEachOp, OP_PUT, readDirectory } from '@sluice/protocol';

/** Rows of one bucket by row key, both in hex: what a reader makes of its chunks. */
export type Reduced = Map<string, string>;

export function payloadOf(chunk: ChunkWrite): Uint8Array {
  return chunk.codec === CODEC_DEFLATE_RAW ? inflateRawSync(chunk.payload) : chunk.payload;
}

/** The newest op per row over all chunks, whatever order they come in. */
export function reduceChunks(chunks: readonly ChunkWrite[]): Reduced {
  const newest = new Map<string, { position: Position; row: string | undefined }>();
  for (const chunk of chunks) {
    const payload = payloadOf(chunk);
    const directory = readDirectory(chunk.directory);
    let op = 0;
    forEachOp(payload, (kind, start, end) => {
      const entry = directory[op++];
      if (!entry) throw new Error('more ops than directory entries');
      const key = hexFromBytes(payload.subarray(start, start + entry.keyBytes));
      const known = newest.get(key);
      if (known && comparePositions(known.position, entry.position) > 0) return;
      newest.set(key, {
        position: entry.position,
        row: kind === OP_PUT ? hexFromBytes(payload.subarray(start, end)) : undefined,
      });
    });
    if (op !== directory.length || op !== chunk.ops) throw new Error('ops, directory and count differ');
  }
  const rows: Reduced = new Map();
  for (const [key, { row }] of newest) if (row !== undefined) rows.set(key, row);
  return rows;
}

/** The bucket's checksum and row count, recomputed from its rows (L9). */
export function totalsOf(rows: Reduced, table: string): BucketTotals {
  const seed = tableSeed(table);
  let checksum = 0n;
  for (const row of rows.values()) checksum += rowHash(seed, Uint8Array.from(Buffer.from(row, 'hex')));
  return { checksum: BigInt.asUintN(64, checksum), rows: rows.size };
}

/** All readable chunks of a bucket, page by page. */
export async function chunksOf(
  store: BucketStore,
  project: ProjectId,
  ref: BucketRef,
  through: Lsn,
): Promise<StoredChunk[]> {
  const chunks: StoredChunk[] = [];
  let cursor: string | undefined;
  do {
    const request = { buckets: [ref], after: 0n as Lsn, through, bytesMax: 1000, cursor };
    const page = await store.readChunks(project, request);
    chunks.push(...page.chunks);
    cursor = page.next;
  } while (cursor !== undefined);
  return chunks;
}

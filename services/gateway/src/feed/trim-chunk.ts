import type { StoredChunk } from '@sluice/bucket-store';
import { ByteWriter, type Lsn, MalformedBytesError } from '@sluice/domain';
import { forEachOp, readDirectory, readDirectoryBase } from '@sluice/protocol';
import { deflatedIfSmaller, inflated } from '../payload.ts';
import type { PackedOps } from './reduce.ts';

/** Whether compaction joined changes from at or below the checkpoint `after` into the chunk. */
export function reachesBack(chunk: StoredChunk, after: Lsn): boolean {
  return readDirectoryBase(chunk.directory) <= after;
}

/**
 * The ops of a chunk that came after a checkpoint. Older ones are not sent: the client has those that it was entitled to,
 * and a remove from before its grant would tell it the key of a row that it was never to know of (L13).
 */
export async function trimmedChunk(chunk: StoredChunk, after: Lsn): Promise<PackedOps> {
  const payload = await inflated(chunk);
  const entries = readDirectory(chunk.directory);
  const left = new ByteWriter(payload.length);
  let ops = 0;
  let index = 0;
  let from = 0;
  forEachOp(payload, (_kind, _start, end) => {
    const entry = entries[index++];
    if (!entry) throw new MalformedBytesError('directory does not fit the payload');
    if (entry.position.lsn > after) {
      left.raw(payload, from, end);
      ops++;
    }
    from = end;
  });
  return { ops, ...(await deflatedIfSmaller(left.take())) };
}

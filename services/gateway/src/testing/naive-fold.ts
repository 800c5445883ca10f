import type { BucketStore, ChunkOutline, StoredChunk } from '@sluice/bucket-store';
import { type BucketId, ByteWriter, type Lsn, type ProjectId } from '@sluice/domain';
import { assert } from '@sluice/errors';
import {
  appendDirectoryEntry,
  CODEC_STORED,
  type DirectoryEntry,
  forEachOp,
  readDirectory,
  writeDirectoryHead,
} from '@sluice/protocol';
import { inflated } from '../payload.ts';

interface FoldedOp {
  readonly entry: DirectoryEntry;
  readonly bytes: Uint8Array;
}

/** Joins all chunks of every bucket up to the newest checkpoint into one, removes included: the most that compaction does. */
export async function foldEverything(
  store: BucketStore,
  project: ProjectId,
  ages: { readableMs: number; retentionMs: number },
): Promise<number> {
  const token = await store.acquireCompaction(project, 'test', 60_000);
  assert(token !== undefined, 'nobody else compacts');
  const floors = await store.raiseFloors(project, token, ages);
  assert(floors, 'there is a checkpoint');
  const { epoch, readFrom } = floors;
  let folded = 0;
  for (const record of await store.readStreams(project)) {
    if (record.epoch !== epoch || record.visibleAfter === undefined || record.droppedAfter !== undefined) continue;
    const { stream } = record;
    const { buckets } = await store.readCrowdedBuckets(project, {
      ...{ stream, readFrom, after: undefined, bucketsMax: 1000 },
    });
    const byBucket = new Map<BucketId, ChunkOutline[]>();
    for (const outline of await store.readOutlines(project, { stream, readFrom, buckets }))
      byBucket.set(outline.bucket, [...(byBucket.get(outline.bucket) ?? []), outline]);
    for (const outlines of byBucket.values()) {
      const chunks = await store.readExactChunks(project, stream, outlines);
      await store.replaceChunks(project, token, { stream, remove: outlines, add: [await joined(chunks, outlines)] });
      folded += outlines.length - 1;
    }
  }
  return folded;
}

async function joined(chunks: readonly StoredChunk[], outlines: readonly ChunkOutline[]): Promise<StoredChunk> {
  const newest = new Map<string, FoldedOp>();
  for (const chunk of chunks) {
    const payload = await inflated(chunk);
    const entries = readDirectory(chunk.directory);
    let from = 0;
    let i = 0;
    forEachOp(payload, (_kind, start, end) => {
      const entry = entries[i++] as DirectoryEntry;
      const key = Buffer.from(payload.subarray(start, start + entry.keyBytes)).toString('hex');
      newest.delete(key);
      newest.set(key, { entry, bytes: payload.subarray(from, end) });
      from = end;
    });
  }
  const baseLsn = outlines.map((outline) => outline.baseLsn).reduce((a, b) => (b < a ? b : a));
  return written(chunks, [...newest.values()], baseLsn);
}

function written(chunks: readonly StoredChunk[], ops: readonly FoldedOp[], baseLsn: Lsn): StoredChunk {
  const last = chunks.at(-1);
  assert(last, 'a bucket that is crowded has chunks');
  const payload = new ByteWriter();
  const directory = new ByteWriter();
  writeDirectoryHead(directory, ops.length, baseLsn);
  for (const { entry, bytes } of ops) {
    payload.raw(bytes);
    const { keyHash, keyBytes, position } = entry;
    const hash = { hashLo: Number(keyHash & 0xffffffffn), hashHi: Number(keyHash >> 32n) };
    appendDirectoryEntry(directory, {
      ...hash,
      lsnDelta: Number(position.lsn - baseLsn),
      seq: position.seq,
      keyBytes,
    });
  }
  return {
    ...last,
    ops: ops.length,
    rowsDelta: chunks.reduce((rows, chunk) => rows + chunk.rowsDelta, 0),
    checksumDelta: BigInt.asUintN(
      64,
      chunks.reduce((sum, chunk) => sum + chunk.checksumDelta, 0n),
    ),
    codec: CODEC_STORED,
    payloadBytes: payload.length,
    directory: directory.take(),
    payload: payload.take(),
  };
}

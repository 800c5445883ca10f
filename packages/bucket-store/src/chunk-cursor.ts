import { type BucketId, type Lsn, MalformedBytesError, type StreamNo } from '@sluice/domain';
import type { StoredChunk } from './port.ts';

/** Where a page of chunks ended: the last one given, in (stream, bucket, position, part) order. */
export interface ChunkCursor {
  readonly stream: StreamNo;
  readonly bucket: BucketId;
  readonly lsn: Lsn;
  readonly seq: number;
  readonly part: number;
}
/** Before every chunk. */
export const NO_CURSOR: ChunkCursor = {
  stream: 0 as StreamNo,
  bucket: '00000000000000000000000000000000' as BucketId,
  lsn: 0n as Lsn,
  seq: 0,
  part: -1,
};

export function formatChunkCursor(chunk: StoredChunk): string {
  return `${chunk.stream}.${chunk.bucket}.${chunk.position.lsn}.${chunk.position.seq}.${chunk.part}`;
}

/** @throws MalformedBytesError for text that formatChunkCursor did not write. */
export function parseChunkCursor(text: string): ChunkCursor {
  const match = /^(\d{1,10})\.([0-9a-f]{32})\.(\d{1,19})\.(\d{1,15})\.(\d{1,16})$/.exec(text);
  if (!match) throw new MalformedBytesError('not a chunk cursor');
  const [, stream, bucket, lsn, seq, part] = match;
  return {
    stream: Number(stream) as StreamNo,
    bucket: bucket as BucketId,
    lsn: BigInt(lsn ?? 0) as Lsn,
    seq: Number(seq),
    part: Number(part),
  };
}

import { deflateRawSync, inflateRawSync } from 'node:zlib';
import type { StoredChunk } from '@sluice/bucket-store';
import { assert } from '@sluice/errors';
import { CHUNK_PAYLOAD_BYTES_MAX, CODEC_DEFLATE_RAW, CODEC_STORED } from '@sluice/protocol';
import type { OpenChunk } from './fold-chunks.ts';

/** Smaller chunks are packed with their neighbours and compressed together by the store's server. */
const DEFLATE_BYTES_MIN = 4096;
const DEFLATED_SHARE_MAX = 0.8;
/** What is folded is written once and kept long, so it is deflated harder than what just came in. */
const DEFLATE_LEVEL = 6;

export function openChunk(chunk: StoredChunk): OpenChunk {
  if (chunk.codec === CODEC_STORED) return { chunk, payload: chunk.payload };
  const payload = inflateRawSync(chunk.payload, { maxOutputLength: CHUNK_PAYLOAD_BYTES_MAX });
  assert(payload.length === chunk.payloadBytes, 'a payload inflates to the length that its chunk states');
  return { chunk, payload };
}

/** Deflates a payload when that pays. */
export function tightChunk(chunk: StoredChunk): StoredChunk {
  if (chunk.payload.length < DEFLATE_BYTES_MIN) return chunk;
  const payload = deflateRawSync(chunk.payload, { level: DEFLATE_LEVEL });
  if (payload.length > chunk.payload.length * DEFLATED_SHARE_MAX) return chunk;
  return { ...chunk, codec: CODEC_DEFLATE_RAW, payload };
}

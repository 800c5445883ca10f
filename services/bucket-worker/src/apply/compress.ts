import { deflateRawSync } from 'node:zlib';
import { type ChunkCodec, CODEC_DEFLATE_RAW, CODEC_STORED } from '@sluice/protocol';

/** Below this many bytes deflate's fixed cost (a fresh window per call) outweighs what it saves in the store. */
const COMPRESS_FROM_BYTES = 8 * 1024;
/** A payload that shrinks by less is kept as it is, so that no reader pays for inflating it. */
const KEEP_BELOW_RATIO = 0.8;

export function compressed(payload: Uint8Array): { codec: ChunkCodec; payload: Uint8Array } {
  if (payload.length >= COMPRESS_FROM_BYTES) {
    const deflated = deflateRawSync(payload, { level: 1 });
    if (deflated.length < payload.length * KEEP_BELOW_RATIO) return { codec: CODEC_DEFLATE_RAW, payload: deflated };
  }
  return { codec: CODEC_STORED, payload };
}

import { MalformedBytesError } from '@sluice/domain';
import { CHUNK_PAYLOAD_BYTES_MAX, type ChunkCodec, CODEC_DEFLATE_RAW } from '@sluice/protocol';
import { inflateSync } from 'fflate';

/**
 * The payload as the chunk's ops. Memory is bounded by what the chunk announces, never by what it inflates to.
 * @throws MalformedBytesError when the announced length is too large or not the real one.
 */
export function inflatePayload(payload: Uint8Array, codec: ChunkCodec, payloadBytes: number): Uint8Array {
  if (payloadBytes > CHUNK_PAYLOAD_BYTES_MAX) throw new MalformedBytesError('payload too large');
  const bytes = codec === CODEC_DEFLATE_RAW ? inflateInto(payload, payloadBytes) : payload;
  if (bytes.length !== payloadBytes) throw new MalformedBytesError('payload has another length');
  return bytes;
}

function inflateInto(payload: Uint8Array, payloadBytes: number): Uint8Array {
  // One byte more than announced: fflate drops what does not fit, and the spare byte shows that something did not.
  const out = new Uint8Array(payloadBytes + 1);
  try {
    return inflateSync(payload, { out });
  } catch {
    throw new MalformedBytesError('payload cannot be inflated');
  }
}

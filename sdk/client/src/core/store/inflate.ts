import { MalformedBytesError } from '@sluice/domain';
import { CHUNK_PAYLOAD_BYTES_MAX, type ChunkCodec, CODEC_DEFLATE_RAW } from '@sluice/protocol';
import { inflateSync } from 'fflate';

/**
 * Inflates RFC 1951 bytes. May throw anything when they are none, or inflate to more than `bytesMax`, or give what it likes
 * of another length than `bytesMax`: whoever calls it looks at the length.
 */
export type InflateRaw = (payload: Uint8Array, bytesMax: number) => Uint8Array;

/**
 * The payload as the chunk's ops. Memory is bounded by what the chunk announces, never by what it inflates to.
 * @param inflate a faster one than JavaScript's, where the platform has one
 * @throws MalformedBytesError when the announced length is too large or not the real one.
 */
export function inflatePayload(
  payload: Uint8Array,
  { codec, payloadBytes }: { readonly codec: ChunkCodec; readonly payloadBytes: number },
  inflate: InflateRaw = inflateInJavaScript,
): Uint8Array {
  if (payloadBytes > CHUNK_PAYLOAD_BYTES_MAX) throw new MalformedBytesError('payload too large');
  const bytes = codec === CODEC_DEFLATE_RAW ? inflated(payload, payloadBytes, inflate) : payload;
  if (bytes.length !== payloadBytes) throw new MalformedBytesError('payload has another length');
  return bytes;
}

function inflated(payload: Uint8Array, payloadBytes: number, inflate: InflateRaw): Uint8Array {
  try {
    return inflate(payload, payloadBytes);
  } catch {
    throw new MalformedBytesError('payload cannot be inflated');
  }
}

function inflateInJavaScript(payload: Uint8Array, bytesMax: number): Uint8Array {
  // One byte more than announced: fflate drops what does not fit, and the spare byte shows that something did not.
  return inflateSync(payload, { out: new Uint8Array(bytesMax + 1) });
}

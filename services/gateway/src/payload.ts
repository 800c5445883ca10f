import { deflateRaw, inflateRaw, inflateRawSync } from 'node:zlib';
import { MalformedBytesError } from '@sluice/domain';
import { CHUNK_PAYLOAD_BYTES_MAX, type ChunkCodec, CODEC_DEFLATE_RAW, CODEC_STORED } from '@sluice/protocol';

/** Below this, a call into zlib's threads costs more than it spares the event loop. Bytes. */
const SYNC_BYTES_MAX = 32 * 1024;
/** Below this, deflating saves next to nothing. Bytes. */
const DEFLATE_BYTES_MIN = 512;

export interface EncodedPayload {
  readonly codec: ChunkCodec;
  readonly payload: Uint8Array;
  readonly payloadBytes: number;
}

/** The ops of a payload. @throws MalformedBytesError when it does not inflate to the length that it states */
export async function inflated({ codec, payload, payloadBytes }: EncodedPayload): Promise<Uint8Array> {
  if (codec === CODEC_STORED) return payload;
  if (payloadBytes > CHUNK_PAYLOAD_BYTES_MAX) throw new MalformedBytesError('payload too large');
  const bytes =
    payloadBytes <= SYNC_BYTES_MAX ? inflateNow(payload, payloadBytes) : await inflateLater(payload, payloadBytes);
  if (bytes.length !== payloadBytes) throw new MalformedBytesError('payload length differs');
  return bytes;
}

/** Deflates when that saves at least a tenth; otherwise the payload is the very bytes that were given. */
export async function deflatedIfSmaller(ops: Uint8Array): Promise<EncodedPayload> {
  const stored = { codec: CODEC_STORED, payload: ops, payloadBytes: ops.length } as const;
  if (ops.length < DEFLATE_BYTES_MIN) return stored;
  const payload = await new Promise<Uint8Array>((resolve, reject) =>
    // In one step, mostly: each further one goes to zlib's threads and back, with a buffer of its own.
    deflateRaw(ops, { level: 1, chunkSize: Math.ceil(ops.length * 0.6) }, (error, result) =>
      error ? reject(error) : resolve(result),
    ),
  );
  if (payload.length > ops.length * 0.9) return stored;
  return { codec: CODEC_DEFLATE_RAW, payload, payloadBytes: ops.length };
}

/** The least that zlib takes. */
const ZLIB_CHUNK_BYTES_MIN = 64;
/** Into one buffer of the length that is stated. */
function exactly(payloadBytes: number): { maxOutputLength: number; chunkSize: number } {
  return { maxOutputLength: Math.max(payloadBytes, 1), chunkSize: Math.max(payloadBytes, ZLIB_CHUNK_BYTES_MIN) };
}

function inflateNow(payload: Uint8Array, payloadBytes: number): Uint8Array {
  try {
    return inflateRawSync(payload, exactly(payloadBytes));
  } catch {
    throw new MalformedBytesError('payload does not inflate');
  }
}
function inflateLater(payload: Uint8Array, payloadBytes: number): Promise<Uint8Array> {
  return new Promise((resolve, reject) =>
    inflateRaw(payload, exactly(payloadBytes), (error, result) =>
      error ? reject(new MalformedBytesError('payload does not inflate')) : resolve(result),
    ),
  );
}

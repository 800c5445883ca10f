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
  const bytes = payloadBytes <= SYNC_BYTES_MAX ? inflateNow(payload) : await inflateLater(payload);
  if (bytes.length !== payloadBytes) throw new MalformedBytesError('payload length differs');
  return bytes;
}

/** Deflates when that saves at least a tenth. */
export async function deflatedIfSmaller(ops: Uint8Array): Promise<EncodedPayload> {
  const stored = { codec: CODEC_STORED, payload: ops, payloadBytes: ops.length } as const;
  if (ops.length < DEFLATE_BYTES_MIN) return stored;
  const payload = await new Promise<Uint8Array>((resolve, reject) =>
    deflateRaw(ops, { level: 1 }, (error, result) => (error ? reject(error) : resolve(result))),
  );
  if (payload.length > ops.length * 0.9) return stored;
  return { codec: CODEC_DEFLATE_RAW, payload, payloadBytes: ops.length };
}

const bound = { maxOutputLength: CHUNK_PAYLOAD_BYTES_MAX };

function inflateNow(payload: Uint8Array): Uint8Array {
  try {
    return inflateRawSync(payload, bound);
  } catch {
    throw new MalformedBytesError('payload does not inflate');
  }
}
function inflateLater(payload: Uint8Array): Promise<Uint8Array> {
  return new Promise((resolve, reject) =>
    inflateRaw(payload, bound, (error, result) =>
      error ? reject(new MalformedBytesError('payload does not inflate')) : resolve(result),
    ),
  );
}

import { inflateRawSync } from 'node:zlib';

/** The least that zlib takes. */
const CHUNK_BYTES_MIN = 64;

/**
 * Inflates RFC 1951 bytes about three times as fast as JavaScript does, into one buffer: growing it in steps would cost as
 * much again. @throws Error when they are none, or inflate to more than `bytesMax`
 */
export function inflateNative(payload: Uint8Array, bytesMax: number): Uint8Array {
  return inflateRawSync(payload, { maxOutputLength: bytesMax, chunkSize: Math.max(bytesMax, CHUNK_BYTES_MIN) });
}

import { sha256 } from '@noble/hashes/sha2.js';
import { ByteWriter } from '@sluice/domain';
import { appendParam, type ParamType, pgTextFromClaim } from '@sluice/pg-values';
import { isPresent } from './row-filter.ts';
import type { TupleSlotsLike } from './tuple.ts';

/** A column whose value is part of a key, bound to a relation. */
export interface BoundParam {
  readonly index: number;
  readonly type: ParamType;
}

/** Longer values stand as their SHA-256, so that keys stay small and yet equal for equal values alone. */
const INLINE_BYTES_MAX = 256;
/** Beside the tags of appendParam; 32 bytes follow. */
const TAG_HASHED = 0x10;

const scratch = new ByteWriter(512);

/**
 * The canonical bytes of a row's parameters as a latin1 string, one code unit a byte; undefined when one of them is
 * NULL, which equals nothing.
 */
export function keyFromRow(params: readonly BoundParam[], src: Uint8Array, slots: TupleSlotsLike): string | undefined {
  scratch.reset();
  for (let i = 0; i < params.length; i++) {
    const { index, type } = params[i] as BoundParam;
    if (!isPresent(slots, index)) return undefined;
    append(type, src, slots.start[index] as number, slots.end[index] as number);
  }
  return internedKey(scratch.bytes, scratch.length);
}

/** One parameter as a key holds it; undefined when no value of the type can equal the claim. */
export function pieceFromClaim(type: ParamType, claim: unknown): string | undefined {
  const text = pgTextFromClaim(type, claim);
  if (text === undefined) return undefined;
  const bytes = new TextEncoder().encode(text);
  scratch.reset();
  append(type, bytes, 0, bytes.length);
  return latin1From(scratch.bytes, scratch.length);
}

function append(type: ParamType, src: Uint8Array, start: number, end: number): void {
  if (end - start <= INLINE_BYTES_MAX) {
    appendParam(scratch, type, src, start, end);
    return;
  }
  scratch.u8(TAG_HASHED);
  scratch.raw(sha256(src.subarray(start, end)));
}

/**
 * Keys that were made lately, by the hash of their bytes: most rows go to a bucket that was just written, and the same
 * string again costs no allocation and is already hashed for the maps that it is looked up in.
 */
const RECENT_SLOTS = 4096;
const recent: string[] = new Array<string>(RECENT_SLOTS).fill('');

function internedKey(bytes: Uint8Array, length: number): string {
  let hash = 0x811c9dc5;
  for (let i = 0; i < length; i++) hash = Math.imul(hash ^ (bytes[i] as number), 0x01000193);
  const slot = (hash ^ (hash >>> 16)) & (RECENT_SLOTS - 1);
  const known = recent[slot] as string;
  if (isSame(known, bytes, length)) return known;
  const key = latin1From(bytes, length);
  recent[slot] = key;
  return key;
}

function isSame(key: string, bytes: Uint8Array, length: number): boolean {
  if (key.length !== length) return false;
  for (let i = 0; i < length; i++) if (key.charCodeAt(i) !== bytes[i]) return false;
  return true;
}

function latin1From(bytes: Uint8Array, length: number): string {
  return String.fromCharCode(...bytes.subarray(0, length));
}

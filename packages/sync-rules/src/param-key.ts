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
const RECENT_SLOTS = 16_384;
const recent: string[] = new Array<string>(RECENT_SLOTS).fill('');

/** Each hash has two slots, the later made key in the second, so that two busy buckets seldom evict each other. */
function internedKey(bytes: Uint8Array, length: number): string {
  let hash = 0x811c9dc5;
  for (let i = 0; i < length; i++) hash = Math.imul(hash ^ (bytes[i] as number), 0x01000193);
  const slot = (hash ^ (hash >>> 15)) & (RECENT_SLOTS - 2);
  const first = recent[slot] as string;
  if (isSame(first, bytes, length)) return first;
  const second = recent[slot + 1] as string;
  if (isSame(second, bytes, length)) return second;
  const key = latin1From(bytes, length);
  recent[slot] = second;
  recent[slot + 1] = key;
  return key;
}

function isSame(key: string, bytes: Uint8Array, length: number): boolean {
  if (key.length !== length) return false;
  // Keys of one stream differ at their ends most.
  for (let i = length - 1; i >= 0; i--) if (key.charCodeAt(i) !== bytes[i]) return false;
  return true;
}

/** Arrays to hand code units over in: the engine reads a plain array several times faster than a typed one. */
const UNITS_LENGTH_MAX = 128;
const unitsByLength = Array.from({ length: UNITS_LENGTH_MAX + 1 }, (_, length) => new Array<number>(length).fill(0));

function latin1From(bytes: Uint8Array, length: number): string {
  const units = unitsByLength[length] ?? new Array<number>(length).fill(0);
  for (let i = 0; i < length; i++) units[i] = bytes[i] as number;
  return String.fromCharCode.apply(undefined, units);
}

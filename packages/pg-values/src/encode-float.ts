import { type ByteWriter, writeFloatCell, writeTextCell } from '@sluice/domain';
import { PG_TYPE } from './type-oids.ts';
import { valueError } from './value-error.ts';

const MINUS = 0x2d;
const PLUS = 0x2b;
const POINT = 0x2e;
const ZERO = 0x30;
const LETTER_E = 0x65;
/** Integers below this are exact in a double. */
const TWO_53 = 2 ** 53;
/** Powers of ten that a double holds exactly. */
const POWERS: readonly number[] = Array.from({ length: 23 }, (_, exponent) => Number(`1e${exponent}`));
const EXPONENT_DIGITS_MAX = 4;
const TEXT_BYTES_MAX = 40;

/**
 * float4 and float8: the double nearest to the digits that Postgres prints; for a float8 that is the very same value.
 * SQLite turns NaN into NULL, prints infinities as Inf and -0 as 0.0, so these stay Postgres's text.
 * @throws AppError SOURCE_VALUE
 */
export function encodeFloat(src: Uint8Array, start: number, end: number, out: ByteWriter): void {
  const value = parseDouble(src, start, end);
  if (Number.isFinite(value) && (value !== 0 || src[start] !== MINUS)) writeFloatCell(out, value);
  else writeTextCell(out, src, start, end);
}

/**
 * Reads `-?digits(.digits)?(e[+-]digits)?`. Up to 53 bits of digits times or over an exact power of ten is one correctly
 * rounded operation (W. Clinger, "How to Read Floating Point Numbers Accurately"); the rest is left to the engine.
 */
function parseDouble(src: Uint8Array, start: number, end: number): number {
  let at = src[start] === MINUS ? start + 1 : start;
  const first = at;
  let mantissa = 0;
  let point = -1;
  for (; at < end; at++) {
    const digit = (src[at] as number) - ZERO;
    if (digit >>> 0 <= 9) mantissa = mantissa * 10 + digit;
    else if (digit === POINT - ZERO && point < 0 && at > first) point = at;
    else break;
  }
  if (at === first || point === at - 1) return parseSpecial(src, start, end);
  const exponent = at < end ? parseExponent(src, at, end) : 0;
  const scale = point < 0 ? exponent : exponent - (at - point - 1);
  if (mantissa >= TWO_53 || scale > 22 || scale < -22) return parseSlowly(src, start, end);
  const magnitude = scale < 0 ? mantissa / (POWERS[-scale] as number) : mantissa * (POWERS[scale] as number);
  return first === start ? magnitude : -magnitude;
}

function parseExponent(src: Uint8Array, at: number, end: number): number {
  const sign = src[at + 1];
  const digits = end - at - 2;
  if (src[at] !== LETTER_E || (sign !== MINUS && sign !== PLUS)) throw notFloat();
  if (digits < 1 || digits > EXPONENT_DIGITS_MAX) throw notFloat();
  let exponent = 0;
  for (let i = at + 2; i < end; i++) {
    const digit = (src[i] as number) - ZERO;
    if (digit >>> 0 > 9) throw notFloat();
    exponent = exponent * 10 + digit;
  }
  return sign === MINUS ? -exponent : exponent;
}

/** For text whose form was checked. */
function parseSlowly(src: Uint8Array, start: number, end: number): number {
  if (end - start > TEXT_BYTES_MAX) throw notFloat();
  const value = Number(ascii(src, start, end));
  // Postgres has no finite float that a double cannot hold, so digits never mean infinity.
  if (!Number.isFinite(value)) throw notFloat();
  return value;
}

function parseSpecial(src: Uint8Array, start: number, end: number): number {
  const text = end - start <= TEXT_BYTES_MAX ? ascii(src, start, end) : '';
  if (text === 'NaN' || text === 'Infinity' || text === '-Infinity') return Number(text);
  throw notFloat();
}

function ascii(src: Uint8Array, start: number, end: number): string {
  let text = '';
  for (let at = start; at < end; at++) text += String.fromCharCode(src[at] as number);
  return text;
}

function notFloat(): Error {
  return valueError('not a float', PG_TYPE.float8);
}

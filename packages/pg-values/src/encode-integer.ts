import { type ByteWriter, CELL, writeIntCell } from '@sluice/domain';
import { PG_TYPE } from './type-oids.ts';
import { valueError } from './value-error.ts';

const MINUS = 0x2d;
const ZERO = 0x30;
/** Decimal digits that a double always holds exactly. */
const EXACT_DIGITS = 15;
const INT8_DIGITS_MAX = 19;
const TWO_32 = 0x1_0000_0000;

/**
 * int2, int4, int8 and oid: the digits of a signed 64-bit integer, without making a bigint.
 * @throws AppError SOURCE_VALUE
 */
export function encodeInteger(src: Uint8Array, start: number, end: number, out: ByteWriter): void {
  const negative = src[start] === MINUS && start < end;
  const first = negative ? start + 1 : start;
  const digits = end - first;
  if (digits < 1 || digits > INT8_DIGITS_MAX) throw notInteger();
  if (src[first] === ZERO && (digits > 1 || negative)) throw notInteger();
  const headEnd = digits > EXACT_DIGITS ? first + EXACT_DIGITS : end;
  const head = decimal(src, first, headEnd);
  if (head < 0x8000_0000 && headEnd === end) writeIntCell(out, negative ? -head : head);
  else writeWide(src, head, headEnd, end, negative, out);
}

function decimal(src: Uint8Array, start: number, end: number): number {
  let value = 0;
  for (let at = start; at < end; at++) {
    const digit = (src[at] as number) - ZERO;
    if (digit >>> 0 > 9) throw notInteger();
    value = value * 10 + digit;
  }
  return value;
}

/** Goes on from `head` in two 32-bit halves, then writes the shortest cell. */
function writeWide(src: Uint8Array, head: number, at: number, end: number, negative: boolean, out: ByteWriter): void {
  let hi = Math.floor(head / TWO_32);
  let lo = head >>> 0;
  for (; at < end; at++) {
    const digit = (src[at] as number) - ZERO;
    if (digit >>> 0 > 9) throw notInteger();
    const low = lo * 10 + digit;
    lo = low >>> 0;
    hi = hi * 10 + Math.floor(low / TWO_32);
  }
  if (hi > 0x7fff_ffff && !(negative && hi === 0x8000_0000 && lo === 0)) throw notInteger();
  if (negative) {
    if (hi === 0 && lo === 0x8000_0000) {
      writeIntCell(out, -0x8000_0000);
      return;
    }
    hi = lo === 0 ? -hi : ~hi;
    lo = -lo >>> 0;
  }
  out.reserve(9);
  out.bytes[out.length] = CELL.i64;
  out.view.setUint32(out.length + 1, lo, true);
  out.view.setInt32(out.length + 5, hi, true);
  out.length += 9;
}

function notInteger(): Error {
  return valueError('not a 64-bit integer', PG_TYPE.int8);
}

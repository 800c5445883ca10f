import { type ByteWriter, CELL, SHORT_TEXT_MAX, writeTextCell } from '@sluice/domain';
import { encodeFloat } from './encode-float.ts';
import { encodeInteger } from './encode-integer.ts';
import { PG_TYPE } from './type-oids.ts';
import { valueError } from './value-error.ts';

/**
 * Writes one cell (the canonical form of domain's cells) from the text that Postgres prints for a value under
 * PINNED_SETTINGS, `src[start, end)`. NULL has no text: its cell is writeNullCell's.
 * @throws AppError SOURCE_VALUE when the bytes are not of the type.
 */
export type CellEncoder = (src: Uint8Array, start: number, end: number, out: ByteWriter) => void;

/** The encoder of a type; of a domain's base type. Unknown types are text as printed. */
export function cellEncoderFor(typeOid: number): CellEncoder {
  switch (typeOid) {
    case PG_TYPE.bool:
      return encodeBool;
    case PG_TYPE.int2:
    case PG_TYPE.int4:
    case PG_TYPE.int8:
    case PG_TYPE.oid:
      return encodeInteger;
    case PG_TYPE.float4:
    case PG_TYPE.float8:
      return encodeFloat;
    case PG_TYPE.bytea:
      return encodeBytea;
    case PG_TYPE.timestamptz:
      return encodeTimestamptz;
    default:
      return encodeText;
  }
}

function encodeText(src: Uint8Array, start: number, end: number, out: ByteWriter): void {
  writeTextCell(out, src, start, end);
}

const TRUE = 0x74; // t
const FALSE = 0x66; // f

function encodeBool(src: Uint8Array, start: number, end: number, out: ByteWriter): void {
  const byte = end - start === 1 ? src[start] : undefined;
  if (byte === TRUE) out.u8(CELL.one);
  else if (byte === FALSE) out.u8(CELL.zero);
  else throw valueError('not a boolean', PG_TYPE.bool);
}

const BACKSLASH = 0x5c;
const LETTER_X = 0x78;
const NO_DIGIT = 0xff;
const nibbleOf = new Uint8Array(256).fill(NO_DIGIT);
for (let value = 0; value < 16; value++) nibbleOf[value.toString(16).charCodeAt(0)] = value;

function encodeBytea(src: Uint8Array, start: number, end: number, out: ByteWriter): void {
  const digits = end - start - 2;
  if (digits < 0 || digits % 2 !== 0 || src[start] !== BACKSLASH || src[start + 1] !== LETTER_X) throw notBytea();
  const begin = out.length;
  out.u8(CELL.blob);
  out.varint(digits / 2);
  out.reserve(digits / 2);
  const { bytes } = out;
  let to = out.length;
  let seen = 0;
  for (let at = start + 2; at < end; at += 2) {
    const high = nibbleOf[src[at] as number] as number;
    const low = nibbleOf[src[at + 1] as number] as number;
    seen |= high | low;
    bytes[to++] = (high << 4) | low;
  }
  if (seen > 0x0f) {
    out.length = begin;
    throw notBytea();
  }
  out.length = to;
}

function notBytea(): Error {
  return valueError('not hexadecimal bytea', PG_TYPE.bytea);
}

const PLUS = 0x2b;
const ZERO = 0x30;
const LETTER_C = 0x43;
const LETTER_Y = 0x79;
const BC_BYTES = 3;
const INFINITY_BYTES = 8;
/** `0001-01-01 00:00:00+00` */
const UTC_BYTES_MIN = 22;
/** `:00`, which makes `+00` an offset that SQLite's and JavaScript's date parsers read. */
const MINUTES = Uint8Array.of(0x3a, ZERO, ZERO);

function encodeTimestamptz(src: Uint8Array, start: number, end: number, out: ByteWriter): void {
  if (end - start < UTC_BYTES_MIN) {
    // `infinity` and `-infinity` are the only times without an offset.
    if (end - start < INFINITY_BYTES || src[end - 1] !== LETTER_Y) throw notUtc();
    writeTextCell(out, src, start, end);
    return;
  }
  const offsetEnd = src[end - 1] === LETTER_C ? end - BC_BYTES : end;
  // Another offset means that the session's time zone is not the pinned one: then other values changed form as well.
  if (src[offsetEnd - 3] !== PLUS || src[offsetEnd - 2] !== ZERO || src[offsetEnd - 1] !== ZERO) throw notUtc();
  const length = end - start + MINUTES.length;
  if (length < SHORT_TEXT_MAX) out.u8(CELL.shortText + length);
  else {
    out.u8(CELL.text);
    out.varint(length);
  }
  out.raw(src, start, offsetEnd);
  out.raw(MINUTES);
  out.raw(src, offsetEnd, end);
}

function notUtc(): Error {
  return valueError('not a time in UTC', PG_TYPE.timestamptz);
}

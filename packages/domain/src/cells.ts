import { type ByteReader, type ByteWriter, MalformedBytesError } from './bytes.ts';

/**
 * Cell encoding, version 1: how one SQLite value stands in a row (L8). A row is its cells, one after the other, key
 * columns first, so the row key's bytes are a prefix of the row's. The client binds text and blobs in place.
 *
 * One tag byte: 0 NULL; 1, 2, 3, 4 signed integer in 1, 2, 4, 8 bytes; 5 float64; 6 text; 7 blob, each with a varint
 * byte length; 8 integer 0; 9 integer 1; 0x80 + n text of n bytes (n < 0x60). Numbers are little endian.
 * Canonical: the shortest form is the only valid one, so equal values have equal bytes and equal hashes (L9).
 */
export const CELL_ENCODING_VERSION = 1;
export const CELL = {
  null: 0,
  i8: 1,
  i16: 2,
  i32: 3,
  i64: 4,
  f64: 5,
  text: 6,
  blob: 7,
  zero: 8,
  one: 9,
  shortText: 0x80,
} as const;
export const SHORT_TEXT_MAX = 0x60;

/** What a cell holds for JavaScript: integers are numbers when safe, else bigints. */
export type CellValue = null | number | bigint | string | Uint8Array;

export function writeNullCell(out: ByteWriter): void {
  out.u8(CELL.null);
}

/** @param value a safe integer */
export function writeIntCell(out: ByteWriter, value: number): void {
  out.reserve(9);
  const { bytes, view } = out;
  if (value === 0 || value === 1) {
    bytes[out.length++] = value === 0 ? CELL.zero : CELL.one;
  } else if (value >= -0x80 && value <= 0x7f) {
    bytes[out.length] = CELL.i8;
    view.setInt8(out.length + 1, value);
    out.length += 2;
  } else if (value >= -0x8000 && value <= 0x7fff) {
    bytes[out.length] = CELL.i16;
    view.setInt16(out.length + 1, value, true);
    out.length += 3;
  } else if (value >= -0x80000000 && value <= 0x7fffffff) {
    bytes[out.length] = CELL.i32;
    view.setInt32(out.length + 1, value, true);
    out.length += 5;
  } else {
    bytes[out.length] = CELL.i64;
    view.setBigInt64(out.length + 1, BigInt(value), true);
    out.length += 9;
  }
}

/** @param value a signed 64-bit integer */
export function writeBigintCell(out: ByteWriter, value: bigint): void {
  if (value >= -0x80000000n && value <= 0x7fffffffn) {
    writeIntCell(out, Number(value));
    return;
  }
  out.reserve(9);
  out.bytes[out.length] = CELL.i64;
  out.view.setBigInt64(out.length + 1, value, true);
  out.length += 9;
}

/** Any double that SQLite stores exactly; NaN is not one (SQLite turns it into NULL), so callers send its text. */
export function writeFloatCell(out: ByteWriter, value: number): void {
  out.u8(CELL.f64);
  out.f64(value);
}

/** Text from UTF-8 bytes `source[start, end)`. */
export function writeTextCell(out: ByteWriter, source: Uint8Array, start = 0, end = source.length): void {
  const count = end - start;
  if (count < SHORT_TEXT_MAX) out.u8(CELL.shortText + count);
  else {
    out.u8(CELL.text);
    out.varint(count);
  }
  out.raw(source, start, end);
}

export function writeBlobCell(out: ByteWriter, source: Uint8Array, start = 0, end = source.length): void {
  out.u8(CELL.blob);
  out.varint(end - start);
  out.raw(source, start, end);
}

const textEncoder = new TextEncoder();

/** The form for values that come out of SQLite; a number that is not an integer, or is -0, is a float. */
export function writeCell(out: ByteWriter, value: CellValue, isFloat = false): void {
  if (value === null) writeNullCell(out);
  else if (typeof value === 'string') writeTextCell(out, textEncoder.encode(value));
  else if (typeof value === 'bigint') writeBigintCell(out, value);
  else if (typeof value === 'number') {
    if (!isFloat && Number.isSafeInteger(value) && !Object.is(value, -0)) writeIntCell(out, value);
    else writeFloatCell(out, value);
  } else writeBlobCell(out, value);
}

/** Reads one cell. Blobs are views of the input. @throws MalformedBytesError */
export function readCell(input: ByteReader): CellValue {
  const tag = input.u8();
  if (tag >= CELL.shortText) {
    if (tag >= CELL.shortText + SHORT_TEXT_MAX) throw new MalformedBytesError('unknown cell tag');
    return utf8(input.raw(tag - CELL.shortText));
  }
  switch (tag) {
    case CELL.null:
      return null;
    case CELL.zero:
      return 0;
    case CELL.one:
      return 1;
    case CELL.i8:
      return (input.u8() << 24) >> 24;
    case CELL.i16: {
      const low = input.u8();
      return ((low | (input.u8() << 8)) << 16) >> 16;
    }
    case CELL.i32:
      return input.u32() | 0;
    case CELL.i64: {
      const value = BigInt.asIntN(64, input.u64());
      return value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER)
        ? Number(value)
        : value;
    }
    case CELL.f64:
      return input.f64();
    case CELL.text:
      return utf8(input.blob());
    case CELL.blob:
      return input.blob();
    default:
      throw new MalformedBytesError('unknown cell tag');
  }
}

/** Moves past one cell without decoding it. @throws MalformedBytesError */
export function skipCell(input: ByteReader): void {
  const tag = input.u8();
  if (tag >= CELL.shortText) {
    if (tag >= CELL.shortText + SHORT_TEXT_MAX) throw new MalformedBytesError('unknown cell tag');
    input.skip(tag - CELL.shortText);
  } else if (tag === CELL.text || tag === CELL.blob) input.skip(input.varint());
  else if (tag === CELL.i8) input.skip(1);
  else if (tag === CELL.i16) input.skip(2);
  else if (tag === CELL.i32) input.skip(4);
  else if (tag === CELL.i64 || tag === CELL.f64) input.skip(8);
  else if (tag !== CELL.null && tag !== CELL.zero && tag !== CELL.one)
    throw new MalformedBytesError('unknown cell tag');
}

const utf8Decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
function utf8(bytes: Uint8Array): string {
  try {
    return utf8Decoder.decode(bytes);
  } catch {
    throw new MalformedBytesError('text is not UTF-8');
  }
}

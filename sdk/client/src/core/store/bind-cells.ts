import { CELL, MalformedBytesError, SHORT_TEXT_MAX } from '@sluice/domain';
import type { ColumnSchema } from '@sluice/protocol';
import { type Pointer, SQLITE, type SqliteExports } from '../sqlite/module.ts';

const INTEGERS = 1;
const FLOATS = 2;
const TEXTS = 4;
const BLOBS = 8;
const ACCEPTS = { INTEGER: INTEGERS, TEXT: TEXTS, BLOB: BLOBS, ANY: INTEGERS | FLOATS | TEXTS | BLOBS } as const;

/** A payload in two places: here to be read, and in SQLite's memory at `base` to be bound from without a copy. */
export interface PlacedPayload {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly base: Pointer;
}

/** Which kinds of cell each column takes; a STRICT table would convert others instead of refusing them. */
export function acceptedKinds(columns: readonly ColumnSchema[]): Uint8Array {
  return Uint8Array.from(columns, (column) => ACCEPTS[column.sqliteType]);
}

/**
 * Binds the cells at [at, end) to places 1..accepts.length and returns where they end. Text and blobs are bound in place
 * (SQLITE_STATIC), so the payload's memory must outlive the statement's bindings.
 * @throws MalformedBytesError when a cell is cut short, unknown, or of a kind that its column does not take.
 */
export function bindCells(
  c: SqliteExports,
  statement: Pointer,
  accepts: Uint8Array,
  payload: PlacedPayload,
  at: number,
  end: number,
): number {
  const { bytes, view, base } = payload;
  for (let i = 0; i < accepts.length; i++) {
    if (at >= end) throw new MalformedBytesError('truncated row');
    const accept = accepts[i] as number;
    const place = i + 1;
    const tag = bytes[at++] as number;
    let kind: number;
    if (tag >= CELL.shortText) {
      const length = tag - CELL.shortText;
      if (length >= SHORT_TEXT_MAX) throw new MalformedBytesError('unknown cell tag');
      kind = TEXTS;
      if (at + length > end) throw new MalformedBytesError('truncated cell');
      c.sqlite3_bind_text(statement, place, base + at, length, SQLITE.static);
      at += length;
    } else if (tag === CELL.null) {
      kind = accept;
      c.sqlite3_bind_null(statement, place);
    } else if (tag === CELL.zero || tag === CELL.one) {
      kind = INTEGERS;
      c.sqlite3_bind_int(statement, place, tag === CELL.one ? 1 : 0);
    } else if (tag === CELL.text || tag === CELL.blob) {
      kind = tag === CELL.text ? TEXTS : BLOBS;
      let length = 0;
      let scale = 1;
      let byte: number;
      do {
        if (at >= end || scale > 0x10000000) throw new MalformedBytesError('truncated cell');
        byte = bytes[at++] as number;
        length += (byte & 0x7f) * scale;
        scale *= 0x80;
      } while (byte >= 0x80);
      if (at + length > end) throw new MalformedBytesError('truncated cell');
      const bind = tag === CELL.text ? c.sqlite3_bind_text : c.sqlite3_bind_blob;
      bind(statement, place, base + at, length, SQLITE.static);
      at += length;
    } else {
      kind = tag === CELL.f64 ? FLOATS : INTEGERS;
      const length = NUMBER_BYTES[tag];
      if (length === undefined) throw new MalformedBytesError('unknown cell tag');
      if (at + length > end) throw new MalformedBytesError('truncated cell');
      if (tag === CELL.i8) c.sqlite3_bind_int(statement, place, view.getInt8(at));
      else if (tag === CELL.i16) c.sqlite3_bind_int(statement, place, view.getInt16(at, true));
      else if (tag === CELL.i32) c.sqlite3_bind_int(statement, place, view.getInt32(at, true));
      else if (tag === CELL.i64) c.sqlite3_bind_int64(statement, place, view.getBigInt64(at, true));
      else c.sqlite3_bind_double(statement, place, view.getFloat64(at, true));
      at += length;
    }
    if ((kind & accept) === 0) throw new MalformedBytesError('a cell does not fit its column');
  }
  return at;
}

/** Bytes after the tag, by tag. */
const NUMBER_BYTES: readonly (number | undefined)[] = [undefined, 1, 2, 4, 8, 8];

import {
  ByteReader,
  ByteWriter,
  skipCell,
  writeBigintCell,
  writeBlobCell,
  writeFloatCell,
  writeNullCell,
  writeTextCell,
} from '@sluice/domain';
import { type Pointer, SQLITE, type SqliteModule } from '../sqlite/module.ts';

/** A row as its encoded cells, in the order of its table's columns. */
export type RowImage = readonly Uint8Array[];

const NULL_CELL = Uint8Array.of(0);

export function isNullCell(cell: Uint8Array): boolean {
  return cell[0] === NULL_CELL[0];
}
export function isSameCell(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
export const nullCell: Uint8Array = NULL_CELL;

/** Cuts encoded cells apart; views of the input. @throws MalformedBytesError */
export function cellsOf(bytes: Uint8Array): Uint8Array[] {
  const input = new ByteReader(bytes);
  const cells: Uint8Array[] = [];
  while (input.remaining > 0) {
    const start = input.at;
    skipCell(input);
    cells.push(bytes.subarray(start, input.at));
  }
  return cells;
}

export function joinCells(cells: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(cells.reduce((length, cell) => length + cell.length, 0));
  let at = 0;
  for (const cell of cells) {
    out.set(cell, at);
    at += cell.length;
  }
  return out;
}

/** What the C API calls a `sqlite3_value`, or a column of a row that a statement stands on. */
export interface ValueReader {
  type(at: Pointer): number;
  int64(at: Pointer): bigint;
  double(at: Pointer): number;
  bytes(at: Pointer): { readonly at: Pointer; readonly length: number };
}

const out = new ByteWriter(256);

/** The canonical cell of a value; a copy. */
export function cellOf(module: SqliteModule, read: ValueReader, value: Pointer): Uint8Array {
  out.reset();
  const type = read.type(value);
  if (type === SQLITE.null) writeNullCell(out);
  else if (type === SQLITE.integer) writeBigintCell(out, read.int64(value));
  else if (type === SQLITE.float) writeFloatCell(out, read.double(value));
  else {
    const { at, length } = read.bytes(value);
    const write = type === SQLITE.text ? writeTextCell : writeBlobCell;
    write(out, module.bytes(), at, at + length);
  }
  return out.take();
}

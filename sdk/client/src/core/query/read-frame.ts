import { AppError } from '@sluice/errors';
import { SQLITE } from '../sqlite/module.ts';
import type { Statement } from '../sqlite/statement.ts';
import { RESERVED_PREFIX } from '../store/table-sql.ts';
import { FRAME_TAG, type ResultFrame } from './frame.ts';

/** Bound of one result: its cells at 9 bytes and its text and blobs. */
export const RESULT_BYTES_MAX = 256 * 1024 * 1024;
const CELL_BYTES = 9;

/**
 * Steps the statement to its end into a frame; bookkeeping columns are left out.
 * @throws AppError CLIENT_QUERY_RESULT_TOO_LARGE, SqliteFailure
 */
export function readFrame(statement: Statement, bytesMax = RESULT_BYTES_MAX): ResultFrame {
  const { module } = statement.database;
  const { c } = module;
  const { pointer } = statement;
  // The first step compiles the statement again if the tables have changed, and then the columns may be others.
  let isRow = statement.step();
  const shown: number[] = [];
  const columns: string[] = [];
  for (let i = 0; i < c.sqlite3_column_count(pointer); i++) {
    const name = module.readString(c.sqlite3_column_name(pointer, i));
    if (name.startsWith(RESERVED_PREFIX)) continue;
    shown.push(i);
    columns.push(name);
  }
  const out = new FrameBuffer(shown.length, bytesMax);
  for (; isRow; isRow = statement.step()) {
    out.reserveRow();
    for (const column of shown) readCell(statement, column, out);
  }
  return out.finish(columns);
}

function readCell(statement: Statement, column: number, out: FrameBuffer): void {
  const { module, pointer } = { module: statement.database.module, pointer: statement.pointer };
  const { c } = module;
  const type = c.sqlite3_column_type(pointer, column);
  switch (type) {
    case SQLITE.null:
      out.number(FRAME_TAG.null, 0);
      break;
    case SQLITE.float:
      out.number(FRAME_TAG.number, c.sqlite3_column_double(pointer, column));
      break;
    case SQLITE.integer: {
      // The double of an unsafe integer is never a safe one, so one cheap call decides.
      const value = c.sqlite3_column_double(pointer, column);
      if (Number.isSafeInteger(value)) out.number(FRAME_TAG.number, value);
      else out.int64(c.sqlite3_column_int64(pointer, column));
      break;
    }
    default: {
      const at = c.sqlite3_column_blob(pointer, column);
      const length = c.sqlite3_column_bytes(pointer, column);
      out.bytes(type === SQLITE.text ? FRAME_TAG.text : FRAME_TAG.blob, module.bytes(), at, length);
    }
  }
}

class FrameBuffer {
  #cells = new Float64Array(64);
  #int64 = new BigInt64Array(this.#cells.buffer);
  #tags = new Uint8Array(64);
  #bytes = new Uint8Array(1024);
  #cell = 0;
  #length = 0;
  #rows = 0;
  readonly #width: number;
  readonly #bytesMax: number;

  constructor(width: number, bytesMax: number) {
    this.#width = width;
    this.#bytesMax = bytesMax;
  }

  reserveRow(): void {
    this.#rows++;
    const need = this.#cell + this.#width;
    if (need * CELL_BYTES + this.#length > this.#bytesMax) throw this.#tooLarge();
    if (need <= this.#cells.length) return;
    const capacity = Math.max(need, this.#cells.length * 2);
    const cells = new Float64Array(capacity);
    const int64 = new BigInt64Array(cells.buffer);
    // Copied as integers: a float copy may change the bits of an int64 that looks like a NaN.
    int64.set(this.#int64.subarray(0, this.#cell));
    const tags = new Uint8Array(capacity);
    tags.set(this.#tags.subarray(0, this.#cell));
    this.#cells = cells;
    this.#int64 = int64;
    this.#tags = tags;
  }
  number(tag: number, value: number): void {
    this.#tags[this.#cell] = tag;
    this.#cells[this.#cell++] = value;
  }
  int64(value: bigint): void {
    this.#tags[this.#cell] = FRAME_TAG.int64;
    this.#int64[this.#cell++] = value;
  }
  bytes(tag: number, heap: Uint8Array, at: number, length: number): void {
    const need = this.#length + length;
    if (need > this.#bytes.length) {
      if (need + this.#cell * CELL_BYTES > this.#bytesMax) throw this.#tooLarge();
      const grown = new Uint8Array(Math.max(need, this.#bytes.length * 2));
      grown.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = grown;
    }
    if (length < 32) for (let i = 0; i < length; i++) this.#bytes[this.#length + i] = heap[at + i] as number;
    else this.#bytes.set(heap.subarray(at, at + length), this.#length);
    this.#length = need;
    this.number(tag, need);
  }
  #tooLarge(): AppError {
    return new AppError('CLIENT_QUERY_RESULT_TOO_LARGE', { details: { max: this.#bytesMax } });
  }

  finish(columns: readonly string[]): ResultFrame {
    return {
      columns,
      rows: this.#rows,
      cells: new Float64Array(this.#int64.slice(0, this.#cell).buffer),
      tags: this.#tags.slice(0, this.#cell),
      bytes: this.#bytes.slice(0, this.#length),
    };
  }
}

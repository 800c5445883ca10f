import { assert } from '@sluice/errors';
import type { TableSchema } from '@sluice/protocol';
import type { Database } from '../sqlite/database.ts';
import { type Pointer, SQLITE } from '../sqlite/module.ts';
import type { Statement } from '../sqlite/statement.ts';
import { acceptedKinds, bindCells } from '../store/bind-cells.ts';
import { HASH_COLUMN, HOLDERS_COLUMN, quoteName } from '../store/table-sql.ts';
import { cellOf, joinCells, type RowImage, type ValueReader } from './row-image.ts';

/** A row with what the server's part of the client keeps beside it. */
export interface StoredRow {
  readonly cells: RowImage;
  /** As `formatHolders` gives it; 0 for a row that only pending writes made. */
  readonly holders: number | Uint8Array;
  readonly hash: bigint;
}

/** Reads, sets and removes single rows of one table by their key. */
export class RowAccess {
  readonly table: TableSchema;
  readonly #db: Database;
  readonly #accepts: Uint8Array;
  readonly #keyAccepts: Uint8Array;
  readonly #select: Statement;
  readonly #put: Statement;
  readonly #remove: Statement;

  constructor(db: Database, table: TableSchema) {
    this.table = table;
    this.#db = db;
    this.#accepts = acceptedKinds(table.columns);
    this.#keyAccepts = this.#accepts.subarray(0, table.keyColumns);
    const sql = rowSql(table);
    this.#select = db.prepare(sql.select);
    this.#put = db.prepare(sql.put);
    this.#remove = db.prepare(sql.remove);
  }

  /** @param key encoded cells. @throws MalformedBytesError when they do not fit the key's columns */
  find(key: Uint8Array): StoredRow | undefined {
    return this.#with(this.#select, this.#keyAccepts, key, (statement) => {
      if (!statement.step()) return undefined;
      const n = this.table.columns.length;
      const reader = columnsOf(statement);
      const cells = Array.from({ length: n }, (_, column) => cellOf(this.#db.module, reader, column));
      const holders = statement.type(n) === SQLITE.integer ? statement.int(n) : statement.blob(n);
      return { cells, holders, hash: statement.int64(n + 1) };
    });
  }

  /** Inserts the row or replaces the one of its key. @throws MalformedBytesError when a cell does not fit its column */
  put({ cells, holders, hash }: StoredRow): void {
    const n = this.table.columns.length;
    this.#with(this.#put, this.#accepts, joinCells(cells), (statement) => {
      statement.bind(n + 1, holders);
      statement.bind(n + 2, hash);
      statement.step();
    });
  }

  remove(key: Uint8Array): void {
    this.#with(this.#remove, this.#keyAccepts, key, (statement) => void statement.step());
  }

  #with<T>(statement: Statement, accepts: Uint8Array, bytes: Uint8Array, use: (statement: Statement) => T): T {
    const { module } = this.#db;
    const base = module.copyIn(bytes);
    try {
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      const end = bindCells(module.c, statement.pointer, accepts, { bytes, view, base }, 0, bytes.length);
      assert(end === bytes.length, 'a row has one cell a column');
      return use(statement);
    } finally {
      statement.reset();
      module.free(base);
    }
  }

  finalize(): void {
    for (const statement of [this.#select, this.#put, this.#remove]) statement.finalize();
  }
}

function rowSql(table: TableSchema): { select: string; put: string; remove: string } {
  const name = quoteName(table.name);
  const names = [...table.columns.map((column) => quoteName(column.name)), HOLDERS_COLUMN, HASH_COLUMN];
  const key = names.slice(0, table.keyColumns);
  const where = key.map((column, i) => `${column} = ?${i + 1}`).join(' AND ');
  const places = names.map((_, i) => `?${i + 1}`).join(', ');
  const set = names.slice(table.keyColumns).map((column) => `${column} = excluded.${column}`);
  return {
    select: `SELECT ${names.join(', ')} FROM ${name} WHERE ${where}`,
    put: `INSERT INTO ${name} (${names.join(', ')}) VALUES (${places}) ON CONFLICT (${key.join(', ')}) DO UPDATE SET ${set.join(', ')}`,
    remove: `DELETE FROM ${name} WHERE ${where}`,
  };
}

function columnsOf(statement: Statement): ValueReader {
  const { c } = statement.database.module;
  const { pointer } = statement;
  return {
    type: (column: Pointer) => c.sqlite3_column_type(pointer, column),
    int64: (column: Pointer) => c.sqlite3_column_int64(pointer, column),
    double: (column: Pointer) => c.sqlite3_column_double(pointer, column),
    bytes: (column: Pointer) => ({
      at: c.sqlite3_column_blob(pointer, column),
      length: c.sqlite3_column_bytes(pointer, column),
    }),
  };
}

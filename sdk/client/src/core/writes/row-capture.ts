import type { TableSchema } from '@sluice/protocol';
import type { Database } from '../sqlite/database.ts';
import { type Pointer, SQLITE } from '../sqlite/module.ts';
import type { StoredRow } from './row-access.ts';
import { cellOf, type RowImage, type ValueReader } from './row-image.ts';

/** One row that a statement inserted, changed or removed. */
export type RowChange =
  | { readonly kind: 'insert'; readonly table: TableSchema; readonly after: RowImage }
  | { readonly kind: 'update'; readonly table: TableSchema; readonly before: StoredRow; readonly after: RowImage }
  | { readonly kind: 'delete'; readonly table: TableSchema; readonly before: StoredRow };

/**
 * Runs `work` and tells `onChange` of every row of the tables that it changes, in order. Statements that change rows must be compiled
 * within it: one that was compiled without anybody looking may empty a table in one step that shows no rows.
 * @throws what `work` or `onChange` throws
 */
export function captureRows<T>(
  db: Database,
  tables: ReadonlyMap<string, TableSchema>,
  onChange: (change: RowChange) => void,
  work: () => T,
): T {
  // The package's types leave out the last of the C function's arguments.
  const preupdateHook = db.module.api.capi.sqlite3_preupdate_hook as unknown as PreupdateHook;
  const reader = new RowReader(db);
  let failure: { readonly error: unknown } | undefined;
  const hook: Hook = (_context, _db, action, _schema, name) => {
    const table = tables.get(String(name));
    if (!table || failure) return;
    try {
      onChange(reader.change(action, table));
    } catch (error) {
      // Nothing may be thrown through the engine; what is caught here is thrown when the statement has ended.
      failure = { error };
    }
  };
  preupdateHook(db.pointer, hook, 0);
  try {
    const result = work();
    if (failure) throw failure.error;
    return result;
  } finally {
    preupdateHook(db.pointer, 0, 0);
    reader.free();
  }
}

/** Actions of the pre-update hook, as the C API numbers them. */
const ACTION = { delete: 9, insert: 18 } as const;

class RowReader {
  readonly #db: Database;
  /** A place for the pointer that each reading gives. */
  readonly #place: Pointer;
  readonly #values: ValueReader;

  constructor(db: Database) {
    const { module } = db;
    const { c } = module;
    this.#db = db;
    this.#place = module.allocate(4);
    this.#values = {
      type: (value) => c.sqlite3_value_type(value),
      int64: (value) => c.sqlite3_value_int64(value),
      double: (value) => c.sqlite3_value_double(value),
      bytes: (value) => ({ at: c.sqlite3_value_blob(value), length: c.sqlite3_value_bytes(value) }),
    };
  }

  change(action: number, table: TableSchema): RowChange {
    if (action === ACTION.insert) return { kind: 'insert', table, after: this.#after(table) };
    const before = this.#before(table);
    return action === ACTION.delete
      ? { kind: 'delete', table, before }
      : { kind: 'update', table, before, after: this.#after(table) };
  }

  #after(table: TableSchema): RowImage {
    const { sqlite3_preupdate_new: read } = this.#db.module.c;
    return table.columns.map((_, column) => this.#cell(read, column));
  }
  #before(table: TableSchema): StoredRow {
    const { sqlite3_preupdate_old: read } = this.#db.module.c;
    const n = table.columns.length;
    const cells = table.columns.map((_, column) => this.#cell(read, column));
    const holders = this.#value(read, n);
    const isNumber = this.#values.type(holders) === SQLITE.integer;
    const { at, length } = isNumber ? { at: 0, length: 0 } : this.#values.bytes(holders);
    const held = isNumber ? Number(this.#values.int64(holders)) : this.#db.module.copyOut(at, length);
    return { cells, holders: held, hash: this.#values.int64(this.#value(read, n + 1)) };
  }

  #cell(read: PreupdateRead, column: number): Uint8Array {
    return cellOf(this.#db.module, this.#values, this.#value(read, column));
  }
  #value(read: PreupdateRead, column: number): Pointer {
    this.#db.check(read(this.#db.pointer, column, this.#place));
    return this.#db.module.readPointer(this.#place);
  }
  free(): void {
    this.#db.module.free(this.#place);
  }
}

type Hook = (context: unknown, db: unknown, action: number, schema: unknown, table: unknown) => void;
type PreupdateHook = (db: Pointer, hook: Hook | 0, context: Pointer) => void;
type PreupdateRead = (db: Pointer, column: number, out: Pointer) => number;

import { MalformedBytesError } from '@sluice/domain';
import type { Mutation } from '@sluice/protocol';
import type { Database } from '../sqlite/database.ts';
import { SQLITE } from '../sqlite/module.ts';
import type { Schema } from '../store/schema.ts';
import { RowAccess, type StoredRow } from './row-access.ts';
import { cellsOf, isSameCell, joinCells, nullCell, type RowImage } from './row-image.ts';

/**
 * Pending writes over the server's rows (L14). Each row that a pending write touched is kept as the server has it; `lift` puts those
 * back, so that a checkpoint finds what it left, and `lay` lets a write be seen again. Works within the caller's transaction.
 */
export class Overlay {
  readonly #db: Database;
  #schema: Schema;
  readonly #rows = new Map<string, RowAccess>();

  constructor(db: Database, schema: Schema) {
    this.#db = db;
    this.#schema = schema;
  }

  /** From now on tables are these. Only while nothing is laid. */
  setSchema(schema: Schema): void {
    if (schema === this.#schema) return;
    this.#schema = schema;
    this.close();
  }

  /** Puts every touched row back as the server has it. Returns the tables that had some. */
  lift(): ReadonlySet<string> {
    const tables = new Set<string>();
    const bases: { table: string; key: Uint8Array; before: StoredRow | undefined }[] = [];
    this.#db.forEachRow('SELECT tbl, key, cells, holders, hash FROM _sluice_base', [], (row) => {
      const isThere = row.type(2) !== SQLITE.null;
      const holders = row.type(3) === SQLITE.integer ? row.int(3) : row.blob(3);
      const before = isThere ? { cells: cellsOf(row.blob(2)), holders, hash: row.int64(4) } : undefined;
      bases.push({ table: row.text(0), key: row.blob(1), before });
    });
    for (const { table, key, before } of bases) {
      tables.add(table);
      const rows = this.#access(table);
      if (before) rows?.put(before);
      else rows?.remove(key);
    }
    if (bases.length > 0) this.#db.run('DELETE FROM _sluice_base');
    return tables;
  }

  /**
   * Lays one write over the row as it is. A table that is gone, or whose columns are others by now, shows what still fits; the write
   * itself stays as it was made.
   */
  lay(mutation: Mutation): void {
    const rows = this.#access(mutation.table);
    if (!rows || rows.table.keyColumns !== mutation.keyCells) return;
    try {
      const before = rows.find(mutation.key);
      const after = laidOver(rows, before, mutation);
      if (after === 'nothing') return;
      this.keep(mutation.table, mutation.key, before);
      if (after) rows.put({ cells: after, holders: before?.holders ?? 0, hash: before?.hash ?? 0n });
      else rows.remove(mutation.key);
    } catch (error) {
      // A column of another type than when it was written.
      if (!(error instanceof MalformedBytesError)) throw error;
    }
  }

  /** Remembers a row as the server has it, unless it is remembered already; undefined for a row that is not there. */
  keep(table: string, key: Uint8Array, before: StoredRow | undefined): void {
    this.#db.run('INSERT OR IGNORE INTO _sluice_base (tbl, key, cells, holders, hash) VALUES (?, ?, ?, ?, ?)', [
      table,
      key,
      before ? joinCells(before.cells) : null,
      before?.holders ?? null,
      before?.hash ?? null,
    ]);
  }

  #access(table: string): RowAccess | undefined {
    const known = this.#rows.get(table);
    if (known) return known;
    const schema = this.#schema.tables.get(table);
    if (!schema) return undefined;
    const access = new RowAccess(this.#db, schema);
    this.#rows.set(table, access);
    return access;
  }

  /** Lets go of compiled statements, which name tables as they are. */
  close(): void {
    for (const rows of this.#rows.values()) rows.finalize();
    this.#rows.clear();
  }
}

/** The row with the mutation laid over it; undefined when it is removed, `nothing` when there is nothing to change. */
function laidOver(
  { table }: RowAccess,
  before: StoredRow | undefined,
  { kind, key, columns }: Mutation,
): RowImage | undefined | 'nothing' {
  if (kind === 'delete') return before ? undefined : 'nothing';
  // Somebody else removed the row that was changed here: what the server has stays in sight.
  if (kind === 'update' && !before) return 'nothing';
  const cells = before
    ? [...before.cells]
    : [...cellsOf(key), ...table.columns.slice(table.keyColumns).map(() => nullCell)];
  for (const { column, value, previous } of columns) {
    const index = table.columns.findIndex(({ name }) => name === column);
    const isChanged = !before || !previous || !value || !isSameCell(value, previous);
    if (index >= table.keyColumns && value && isChanged) cells[index] = value;
  }
  return cells;
}

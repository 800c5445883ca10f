import type { TableSchema } from '@sluice/protocol';

/** Bookkeeping columns of every synced table: who holds the row, and its hash as a signed 64-bit integer (L9). */
export const HOLDERS_COLUMN = '_sluice_buckets';
export const HASH_COLUMN = '_sluice_hash';
/** Names that begin with this belong to the client; query results leave such columns out. */
export const RESERVED_PREFIX = '_sluice_';

const ROWID_NAMES = ['rowid', '_rowid_', 'oid'] as const;

export function quoteName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** A name of the row's id that no column of the table hides, or undefined when columns take all three. */
export function rowidName(table: TableSchema): string | undefined {
  const taken = new Set(table.columns.map((column) => column.name.toLowerCase()));
  return ROWID_NAMES.find((name) => !taken.has(name));
}

/**
 * A STRICT table keeps each value exactly as it came: INTEGER, TEXT and BLOB columns hold just that, ANY holds anything
 * without conversion. A single INTEGER key becomes the rowid. A row that only a local write made has nobody who holds it: 0.
 */
export function createTableSql(table: TableSchema): string {
  const columns = table.columns.map((column, index) => {
    const notNull = index < table.keyColumns ? ' NOT NULL' : '';
    return `${quoteName(column.name)} ${column.sqliteType}${notNull}`;
  });
  const key = table.columns.slice(0, table.keyColumns).map((column) => quoteName(column.name));
  return `CREATE TABLE ${quoteName(table.name)} (${columns.join(', ')}, ${HOLDERS_COLUMN} ANY NOT NULL DEFAULT 0, ${HASH_COLUMN} INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (${key.join(', ')})) STRICT`;
}

/** Places 1..n are the columns in order, n+1 the holders, n+2 the hash; `update` and `updateHolders` end with the rowid. */
export function rowStatementsSql(
  table: TableSchema,
  rowid: string,
): { insert: string; select: string; update: string; updateHolders: string; remove: string } {
  const name = quoteName(table.name);
  const names = table.columns.map((column) => quoteName(column.name));
  const n = names.length;
  const places = Array.from({ length: n + 2 }, (_, i) => `?${i + 1}`);
  const key = names.slice(0, table.keyColumns).map((column, i) => `${column} = ?${i + 1}`);
  const rest = names.map((column, i) => `${column} = ?${i + 1}`).slice(table.keyColumns);
  return {
    insert: `INSERT INTO ${name} (${names.join(', ')}, ${HOLDERS_COLUMN}, ${HASH_COLUMN}) VALUES (${places.join(', ')}) ON CONFLICT DO NOTHING`,
    select: `SELECT ${rowid}, ${HOLDERS_COLUMN}, ${HASH_COLUMN} FROM ${name} WHERE ${key.join(' AND ')}`,
    update: `UPDATE ${name} SET ${[...rest, `${HOLDERS_COLUMN} = ?${n + 1}`, `${HASH_COLUMN} = ?${n + 2}`].join(', ')} WHERE ${rowid} = ?${n + 3}`,
    updateHolders: `UPDATE ${name} SET ${HOLDERS_COLUMN} = ?1 WHERE ${rowid} = ?2`,
    remove: `DELETE FROM ${name} WHERE ${rowid} = ?1`,
  };
}

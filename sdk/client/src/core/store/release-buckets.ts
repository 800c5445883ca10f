import { assert } from '@sluice/errors';
import type { TableSchema } from '@sluice/protocol';
import type { Database } from '../sqlite/database.ts';
import { formatHolders, parseHolders } from './holders.ts';
import { HOLDERS_COLUMN, quoteName, rowidName } from './table-sql.ts';

/** Rows with several holders that are read before they are written. */
const BATCH_ROWS = 5000;
const ROWID_MIN = -(2n ** 63n);
const ROWID_MAX = 2n ** 63n - 1n;

/**
 * Takes the buckets, by local number, off the table's rows and removes the rows that nobody holds any more. `all` empties
 * the table. One scan of the table, whatever the number of buckets. True when a row went away.
 */
export function releaseBuckets(db: Database, table: TableSchema, released: readonly number[] | 'all'): boolean {
  const name = quoteName(table.name);
  if (released === 'all') {
    db.run(`DELETE FROM ${name}`);
    return db.changes > 0;
  }
  db.run(`DELETE FROM ${name} WHERE ${HOLDERS_COLUMN} IN (SELECT value FROM json_each(?))`, [JSON.stringify(released)]);
  const removedSingle = db.changes > 0;
  return releaseShared(db, table, new Set(released)) || removedSingle;
}

function releaseShared(db: Database, table: TableSchema, released: ReadonlySet<number>): boolean {
  const rowid = rowidName(table);
  assert(rowid !== undefined, 'a table of a parsed schema has a rowid name');
  const name = quoteName(table.name);
  const select = `SELECT ${rowid}, ${HOLDERS_COLUMN} FROM ${name} WHERE ${rowid} >= ? AND typeof(${HOLDERS_COLUMN}) = 'blob' ORDER BY ${rowid} LIMIT ${BATCH_ROWS}`;
  let from: bigint | undefined = ROWID_MIN;
  let removed = false;
  while (from !== undefined) {
    const batch: { rowid: bigint; holders: readonly number[] }[] = [];
    db.forEachRow(select, [from], (row) => batch.push({ rowid: row.int64(0), holders: parseHolders(row.blob(1)) }));
    for (const row of batch) {
      const left = row.holders.filter((holder) => !released.has(holder));
      if (left.length === row.holders.length) continue;
      if (left.length === 0) {
        db.run(`DELETE FROM ${name} WHERE ${rowid} = ?`, [row.rowid]);
        removed = true;
      } else db.run(`UPDATE ${name} SET ${HOLDERS_COLUMN} = ? WHERE ${rowid} = ?`, [formatHolders(left), row.rowid]);
    }
    const last = batch.at(-1)?.rowid;
    from = batch.length < BATCH_ROWS || last === undefined || last === ROWID_MAX ? undefined : last + 1n;
  }
  return removed;
}

import type { StreamNo } from '@sluice/domain';
import { AppError } from '@sluice/errors';
import type { StreamSchema, TableSchema } from '@sluice/protocol';
import { RESERVED_PREFIX, rowidName } from './table-sql.ts';

/** What the server announced: the tables, and which table each stream feeds. */
export interface Schema {
  readonly tables: ReadonlyMap<string, TableSchema>;
  readonly streams: ReadonlyMap<StreamNo, StreamSchema>;
}
export const EMPTY_SCHEMA: Schema = { tables: new Map(), streams: new Map() };

const TABLES_MAX = 1000;
/** The build's limit is 2000 columns; two are ours. */
const COLUMNS_MAX = 1998;

/** @throws AppError CLIENT_SCHEMA_INVALID for a schema that no database of ours can have. */
export function parseSchema(tables: readonly TableSchema[], streams: readonly StreamSchema[]): Schema {
  if (tables.length > TABLES_MAX) throw invalid(`more than ${TABLES_MAX} tables`);
  const names = new Set<string>();
  for (const table of tables) {
    checkTable(table);
    claimName(names, table.name);
  }
  const byName = new Map(tables.map((table) => [table.name, table]));
  const byNumber = new Map(streams.map((stream) => [stream.stream, stream]));
  if (byNumber.size !== streams.length) throw invalid('a stream number is announced twice');
  for (const stream of streams) if (!byName.has(stream.table)) throw invalid('a stream feeds a table that is missing');
  return { tables: byName, streams: byNumber };
}

function checkTable(table: TableSchema): void {
  if (table.columns.length > COLUMNS_MAX) throw invalid(`more than ${COLUMNS_MAX} columns`);
  const columns = new Set<string>();
  for (const column of table.columns) claimName(columns, column.name);
  if (rowidName(table) === undefined) throw invalid('columns take the names rowid, oid and _rowid_');
}

/** SQLite does not tell names apart by case, and keeps `sqlite_` for itself. */
function claimName(taken: Set<string>, name: string): void {
  const folded = name.toLowerCase();
  if (name === '' || name.includes('\0')) throw invalid('an empty name');
  if (folded.startsWith(RESERVED_PREFIX) || folded.startsWith('sqlite_')) throw invalid('a reserved name');
  if (taken.has(folded)) throw invalid('a name is used twice');
  taken.add(folded);
}

function invalid(reason: string): AppError {
  return new AppError('CLIENT_SCHEMA_INVALID', { internal: reason, details: { reason } });
}

export interface SchemaChange {
  readonly drop: readonly string[];
  readonly create: readonly TableSchema[];
}

/** A table whose columns changed is made anew: its streams are new generations, so all of its rows come again (L11). */
export function schemaChange(from: Schema, to: Schema): SchemaChange {
  const same = (name: string): boolean => isSameTable(from.tables.get(name), to.tables.get(name));
  return {
    drop: [...from.tables.keys()].filter((name) => !same(name)),
    create: [...to.tables.values()].filter((table) => !same(table.name)),
  };
}

function isSameTable(a: TableSchema | undefined, b: TableSchema | undefined): boolean {
  if (a === undefined || b === undefined || a.keyColumns !== b.keyColumns) return false;
  if (a.columns.length !== b.columns.length) return false;
  return a.columns.every((column, i) => {
    const other = b.columns[i];
    return column.name === other?.name && column.sqliteType === other.sqliteType && column.pgType === other.pgType;
  });
}

export function formatSchema(schema: Schema): string {
  return JSON.stringify({ tables: [...schema.tables.values()], streams: [...schema.streams.values()] });
}
/** Reads what formatSchema wrote into our own database. */
export function readSchema(text: string): Schema {
  const { tables, streams } = JSON.parse(text) as { tables: TableSchema[]; streams: StreamSchema[] };
  return parseSchema(tables, streams);
}

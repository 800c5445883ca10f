import { AppError } from '@sluice/errors';
import type { TableSchema } from '@sluice/protocol';
import type { QueryParameter, WriteOperation } from '../../types.ts';
import type { Schema } from '../store/schema.ts';
import { quoteName } from '../store/table-sql.ts';

/** One statement of a local transaction. */
export interface WriteStatement {
  readonly sql: string;
  readonly parameters: readonly QueryParameter[];
  /** An insert of it is sent as an upsert. */
  readonly isUpsert: boolean;
}

/** @throws AppError CLIENT_WRITE_TABLE_UNKNOWN, CLIENT_WRITE_INVALID */
export function statementOf(operation: WriteOperation, schema: Schema): WriteStatement {
  if ('sql' in operation) return { sql: operation.sql, parameters: operation.parameters ?? [], isUpsert: false };
  if ('insert' in operation) return insert(tableOf(schema, operation.insert), operation.values, false);
  if ('upsert' in operation) return insert(tableOf(schema, operation.upsert), operation.values, true);
  if ('update' in operation) return update(tableOf(schema, operation.update), operation.values);
  return remove(tableOf(schema, operation.delete), operation.key);
}

type Values = Readonly<Record<string, QueryParameter>>;

function insert(table: TableSchema, values: Values, isUpsert: boolean): WriteStatement {
  checkColumns(table, values);
  keyOf(table, values);
  const names = Object.keys(values);
  const places = names.map(() => '?').join(', ');
  const into = `INSERT INTO ${quoteName(table.name)} (${names.map(quoteName).join(', ')}) VALUES (${places})`;
  const key = keyNames(table);
  const rest = names
    .filter((name) => !key.includes(name))
    .map((name) => `${quoteName(name)} = excluded.${quoteName(name)}`);
  const action = rest.length > 0 ? `DO UPDATE SET ${rest.join(', ')}` : 'DO NOTHING';
  const conflict = isUpsert ? ` ON CONFLICT (${key.map(quoteName).join(', ')}) ${action}` : '';
  return { sql: `${into}${conflict}`, parameters: Object.values(values), isUpsert };
}

function update(table: TableSchema, values: Values): WriteStatement {
  checkColumns(table, values);
  const key = keyNames(table);
  const keyValues = keyOf(table, values);
  const rest = Object.entries(values).filter(([name]) => !key.includes(name));
  if (rest.length === 0) throw invalid('an update names no column to change');
  const set = rest.map(([name]) => `${quoteName(name)} = ?`).join(', ');
  const sql = `UPDATE ${quoteName(table.name)} SET ${set} WHERE ${whereKey(table)}`;
  return { sql, parameters: [...rest.map(([, value]) => value), ...keyValues], isUpsert: false };
}

function remove(table: TableSchema, key: Values): WriteStatement {
  checkColumns(table, key);
  const sql = `DELETE FROM ${quoteName(table.name)} WHERE ${whereKey(table)}`;
  return { sql, parameters: keyOf(table, key), isUpsert: false };
}

function tableOf(schema: Schema, name: string): TableSchema {
  const table = schema.tables.get(name);
  if (!table) throw new AppError('CLIENT_WRITE_TABLE_UNKNOWN', { details: { table: name } });
  return table;
}
function keyNames(table: TableSchema): string[] {
  return table.columns.slice(0, table.keyColumns).map(({ name }) => name);
}
function whereKey(table: TableSchema): string {
  return keyNames(table)
    .map((name) => `${quoteName(name)} = ?`)
    .join(' AND ');
}
function keyOf(table: TableSchema, values: Values): QueryParameter[] {
  return keyNames(table).map((name) => {
    const value = values[name];
    if (value === undefined || value === null) throw invalid(`the key column ${name} has no value`);
    return value;
  });
}
function checkColumns(table: TableSchema, values: Values): void {
  const known = new Set(table.columns.map(({ name }) => name));
  for (const name of Object.keys(values))
    if (!known.has(name)) throw invalid(`the table ${table.name} has no column ${name}`);
}
function invalid(reason: string): AppError {
  return new AppError('CLIENT_WRITE_INVALID', { details: { reason } });
}

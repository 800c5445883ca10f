import { isAppError } from '@sluice/errors';
import type { SourceTable } from '@sluice/sync-rules';
import type { SourceSession } from './connection.ts';
import { quoteIdentifier, quoteLiteral, tableKey } from './quote.ts';

/**
 * What changes when a table's rows are no longer those that were copied, though the stream may describe it just as before: a
 * rewrite by ALTER TABLE gives new storage and a new catalog row for the column (TRUNCATE and VACUUM FULL give only the former), and
 * a column that was dropped and made again has another number.
 */
export interface TableShape {
  readonly oid: number;
  readonly storage: number;
  /** OID of the primary key's index, 0 without one, and the letter of the replica identity. */
  readonly key: number;
  readonly identity: string;
  /** By column name: its number, and the transaction that wrote its catalog row. */
  readonly columns: Readonly<Record<string, readonly [number: number, writtenBy: string]>>;
}
/** By `schema.table`. */
export type TableShapes = Readonly<Record<string, TableShape>>;

const SHAPES_SQL = `
SELECT n.nspname AS schema, c.relname AS name, c.oid::int8::float8 AS oid,
  pg_catalog.pg_relation_filenode(c.oid)::int8::float8 AS storage,
  COALESCE((SELECT i.indexrelid FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisprimary), 0)::int8::float8 AS key,
  c.relreplident::text AS identity,
  COALESCE(json_object_agg(a.attname, json_build_array(a.attnum, a.xmin::text)) FILTER (WHERE a.attname IS NOT NULL), '{}') AS columns
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN unnest($1::text[], $2::text[]) AS wanted (schema, name) ON wanted.schema = n.nspname AND wanted.name = c.relname
GROUP BY c.oid, n.nspname`;

/** Tables that are not there are not in the result. @throws AppError */
export async function readTableShapes(session: SourceSession, tables: readonly SourceTable[]): Promise<TableShapes> {
  const rows = await session.query<TableShape & SourceTable>(SHAPES_SQL, [
    tables.map(({ schema }) => schema),
    tables.map(({ name }) => name),
  ]);
  return Object.fromEntries(rows.map(({ schema, name, ...shape }) => [tableKey({ schema, name }), shape]));
}

const PREFIX = 'Sluice: ';

/**
 * Writes down what was copied, as the comment of our publication: it belongs to the same epoch, and outlives the process.
 * @throws AppError
 */
export async function writeCopiedShapes(
  session: SourceSession,
  publication: string,
  shapes: TableShapes,
): Promise<void> {
  const comment = `${PREFIX}${JSON.stringify(shapes)}`;
  await session.query(`COMMENT ON PUBLICATION ${quoteIdentifier(publication)} IS ${quoteLiteral(comment)}`);
}

/** What was written down; empty when somebody has overwritten it. @throws AppError */
export async function readCopiedShapes(session: SourceSession, publication: string): Promise<TableShapes> {
  const [row] = await session.query<{ comment: string | null }>(
    "SELECT pg_catalog.obj_description(oid, 'pg_publication') AS comment FROM pg_catalog.pg_publication WHERE pubname = $1",
    [publication],
  );
  const comment = row?.comment ?? '';
  if (!comment.startsWith(PREFIX)) return {};
  try {
    // Written by us; anything else is no shape of any table and reads as such below.
    const shapes: unknown = JSON.parse(comment.slice(PREFIX.length));
    return isShapes(shapes) ? shapes : {};
  } catch (error) {
    if (isAppError(error)) throw error;
    return {};
  }
}

function isShapes(value: unknown): value is TableShapes {
  return (
    typeof value === 'object' &&
    value !== null &&
    Object.values(value).every(
      (shape) =>
        typeof shape === 'object' && shape !== null && 'columns' in shape && 'oid' in shape && 'storage' in shape,
    )
  );
}

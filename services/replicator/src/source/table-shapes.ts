import { isAppError } from '@sluice/errors';
import type { SourceTable } from '@sluice/sync-rules';
import type { SourceSession } from './connection.ts';
import { quoteIdentifier, quoteLiteral, quoteTable, tableKey } from './quote.ts';

/**
 * What changes when a table's rows are no longer those that were copied, though the stream may describe it just as before: a
 * rewrite by ALTER TABLE gives new storage and a new catalog row for the column (TRUNCATE and VACUUM FULL give only the former), and
 * a column that was dropped and made again has another number.
 */
export interface TableShape {
  readonly oid: number;
  readonly storage: number;
  /** Storage of the partitions that hold rows, by OID; what happens to one alone is not in the stream. */
  readonly parts?: Readonly<Record<string, number>>;
  /** By column of an enum, an array or a domain of one: its labels by OID. A new name of a label is in no row and no description. */
  readonly labels?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** While it is published, the customer's own updates of it fail. */
  readonly refusesWrites?: boolean;
  /** How many tables inherit from it, or are its direct partitions. */
  readonly heirs?: number;
  /** OID of the primary key's index, 0 without one, and the letters of the replica identities of it and its partitions. */
  readonly key: number;
  readonly identity: string;
  /** By column name: its number, and the transaction that wrote its catalog row. */
  readonly columns: Readonly<Record<string, readonly [number: number, writtenBy: string]>>;
}
/** By `schema.table`. */
export type TableShapes = Readonly<Record<string, TableShape>>;

/**
 * In a session with a snapshot everything is as of that snapshot, which is why no function that looks at the present is used: rows
 * of a table that was rewritten after the snapshot was taken cannot be seen under it, and the two storages tell.
 */
const SHAPES_SQL = `
WITH RECURSIVE tree AS (
  SELECT c.oid AS root, c.oid AS part
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN unnest($1::text[], $2::text[]) AS wanted (schema, name) ON wanted.schema = n.nspname AND wanted.name = c.relname
  UNION ALL
  SELECT tree.root, i.inhrelid
  FROM tree JOIN pg_catalog.pg_class c ON c.oid = tree.part AND c.relkind = 'p'
  JOIN pg_catalog.pg_inherits i ON i.inhparent = tree.part
), whole AS (
  SELECT tree.root, string_agg(DISTINCT p.relreplident::text, '') AS identity,
    jsonb_object_agg(p.oid, p.relfilenode::int8) FILTER (WHERE p.oid <> tree.root AND p.relkind <> 'p') AS parts
  FROM tree JOIN pg_catalog.pg_class p ON p.oid = tree.part
  GROUP BY tree.root
)
SELECT n.nspname AS schema, c.relname AS name, c.oid::int8::float8 AS oid,
  c.relfilenode::int8::float8 AS storage, COALESCE(w.parts, '{}') AS parts,
  (SELECT count(*) FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid)::int AS heirs,
  COALESCE((SELECT i.indexrelid FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisprimary), 0)::int8::float8 AS key,
  w.identity, c.relreplident = 'f' AND bool_or(COALESCE(a.attgenerated = 'v', false)) AS "refusesWrites",
  COALESCE(json_object_agg(a.attname, l.labels ORDER BY a.attnum) FILTER (WHERE l.labels IS NOT NULL), '{}') AS labels,
  COALESCE(json_object_agg(a.attname, json_build_array(a.attnum, a.xmin::text) ORDER BY a.attnum) FILTER (WHERE a.attname IS NOT NULL), '{}') AS columns
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN LATERAL (
  SELECT jsonb_object_agg(e.oid, e.enumlabel) AS labels
  FROM pg_catalog.pg_type t
  LEFT JOIN pg_catalog.pg_type b ON b.oid = t.typbasetype
  JOIN pg_catalog.pg_enum e ON e.enumtypid IN (t.oid, t.typelem, t.typbasetype, b.typelem)
  WHERE t.oid = a.atttypid
) l ON true
JOIN whole w ON w.root = c.oid
GROUP BY c.oid, n.nspname, w.identity, w.parts`;

/** Tables that are not there are not in the result. @throws AppError */
export async function readTableShapes(session: SourceSession, tables: readonly SourceTable[]): Promise<TableShapes> {
  const rows = await session.query<TableShape & SourceTable>(SHAPES_SQL, [
    tables.map(({ schema }) => schema),
    tables.map(({ name }) => name),
  ]);
  return Object.fromEntries(rows.map(({ schema, name, ...shape }) => [tableKey({ schema, name }), shape]));
}

/**
 * Rows of a partition that were in it before it was one; none of them was streamed. With a partition that was made and attached by one
 * transaction these can only be rows of that transaction.
 */
const ATTACHED_SQL = `
SELECT c.oid::int8::float8 AS oid, n.nspname AS schema, c.relname AS name, a.xmin::text AS "madeBy", i.xmin::text AS "attachedBy"
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_inherits i ON i.inhrelid = c.oid
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tableoid'
WHERE c.oid = ANY ($1::oid[])`;

/**
 * What was copied, with those partitions added that came since and brought no rows along: all they hold was streamed.
 * @throws AppError
 */
export async function withEmptyParts(
  session: SourceSession,
  copied: TableShapes,
  now: TableShapes,
): Promise<TableShapes> {
  const result: Record<string, TableShape> = { ...copied };
  for (const [table, shape] of Object.entries(now)) {
    const before = copied[table];
    if (before?.oid !== shape.oid) continue;
    const fresh = Object.keys(shape.parts ?? {}).filter((oid) => before.parts?.[oid] === undefined);
    for (const part of await emptyAmong(session, fresh)) {
      const { parts = {} } = result[table] ?? before;
      result[table] = { ...before, parts: { ...parts, [part]: shape.parts?.[part] ?? 0 } };
    }
  }
  return result;
}

async function emptyAmong(session: SourceSession, oids: readonly string[]): Promise<string[]> {
  if (oids.length === 0) return [];
  const empty: string[] = [];
  for (const part of await session.query<AttachedPart>(ATTACHED_SQL, [oids])) {
    const from = `FROM ONLY ${quoteTable(part)}`;
    const own = part.madeBy === part.attachedBy ? ` WHERE xmin = ${quoteLiteral(part.attachedBy)}::xid` : '';
    const [row] = await session.query<{ some: boolean }>(`SELECT EXISTS (SELECT ${from}${own}) AS some`);
    if (row?.some === false) empty.push(String(part.oid));
  }
  return empty;
}

interface AttachedPart extends SourceTable {
  readonly oid: number;
  readonly madeBy: string;
  readonly attachedBy: string;
}

export const COPIED_PREFIX = 'Sluice: ';

/**
 * Writes down what was copied, as the comment of our publication: it belongs to the same epoch, and outlives the process.
 * @throws AppError
 */
export async function writeCopiedShapes(
  session: SourceSession,
  publication: string,
  shapes: TableShapes,
): Promise<void> {
  await session.query(copiedShapesSql(publication, shapes));
}

/** Every publication of ours has such a comment from the beginning: one of the same name without it was made by somebody else. */
export function copiedShapesSql(publication: string, shapes: TableShapes): string {
  const comment = `${COPIED_PREFIX}${JSON.stringify(shapes)}`;
  return `COMMENT ON PUBLICATION ${quoteIdentifier(publication)} IS ${quoteLiteral(comment)}`;
}

/** What was written down; empty before the first copy is complete, and when somebody has overwritten it. @throws AppError */
export async function readCopiedShapes(session: SourceSession, publication: string): Promise<TableShapes> {
  const [row] = await session.query<{ comment: string | null }>(
    "SELECT pg_catalog.obj_description(oid, 'pg_publication') AS comment FROM pg_catalog.pg_publication WHERE pubname = $1",
    [publication],
  );
  const comment = row?.comment ?? '';
  if (!comment.startsWith(COPIED_PREFIX)) return {};
  try {
    // Written by us; anything else is no shape of any table and reads as such below.
    const shapes: unknown = JSON.parse(comment.slice(COPIED_PREFIX.length));
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

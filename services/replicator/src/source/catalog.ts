import type { SourceConnection } from '@sluice/source-connection';
import type { Catalog, CatalogColumn, CatalogTable, SourceTable } from '@sluice/sync-rules';
import { openSession, type SourceSession } from './connection.ts';

/** More columns than this and the catalog is refused rather than held in memory. */
const columnsMax = 500_000;

interface ColumnRow {
  readonly oid: number;
  readonly schema: string;
  readonly table: string;
  readonly kind: string;
  readonly persistence: string;
  readonly identity: string;
  readonly key: string[];
  readonly identityKey: string[];
  readonly hasInheritors: boolean;
  readonly partitionOf: SourceTable | null;
  readonly column: string | null;
  readonly typeOid: number;
  readonly typmod: number;
  readonly pgType: string;
  readonly notNull: boolean;
  readonly generated: boolean;
  readonly nondeterministic: boolean;
  readonly baseTypeOid: number;
  readonly typeKind: string;
}

/** A deferrable primary key is no replica identity. One row a column, in attribute order; a table without columns has one row with NULL. */
const CATALOG_SQL = `
WITH RECURSIVE base AS (
  SELECT t.oid, t.oid AS base_oid, t.typtype, t.typbasetype FROM pg_catalog.pg_type t
  UNION ALL
  SELECT b.oid, t.oid, t.typtype, t.typbasetype
  FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.typbasetype
  WHERE b.typtype = 'd'
), tree AS (
  SELECT c.oid AS root, c.oid AS part FROM pg_catalog.pg_class c WHERE c.relkind = 'p'
  UNION ALL
  SELECT tree.root, i.inhrelid FROM tree JOIN pg_catalog.pg_inherits i ON i.inhparent = tree.part
), whole AS (
  SELECT tree.root, string_agg(DISTINCT p.relreplident::text, '') AS identities,
    bool_and(p.relkind IN ('r', 'p') AND p.relpersistence = 'p') AS permanent
  FROM tree JOIN pg_catalog.pg_class p ON p.oid = tree.part
  GROUP BY tree.root
), key_index AS (
  SELECT i.indrelid, i.indisprimary, i.indisreplident, i.indimmediate, array_agg(ka.attname::text ORDER BY k.place) AS columns
  FROM pg_catalog.pg_index i
  CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
  JOIN pg_catalog.pg_attribute ka ON ka.attrelid = i.indrelid AND ka.attnum = k.attnum
  WHERE (i.indisprimary OR i.indisreplident) AND k.place <= i.indnkeyatts
  GROUP BY i.indexrelid, i.indrelid, i.indisprimary, i.indisreplident, i.indimmediate
)
SELECT c.oid::int8::float8 AS oid, n.nspname AS schema, c.relname AS table, c.relkind::text AS kind,
  CASE WHEN w.permanent THEN 'p' WHEN NOT w.permanent THEN 'u' ELSE c.relpersistence::text END AS persistence,
  CASE WHEN length(w.identities) > 1 THEN 'n' ELSE c.relreplident::text END AS identity,
  COALESCE(pk.columns, CASE WHEN c.relreplident = 'i' THEN ri.columns END, '{}') AS key,
  COALESCE(CASE c.relreplident WHEN 'd' THEN CASE WHEN pk.indimmediate THEN pk.columns END WHEN 'i' THEN ri.columns END, '{}') AS "identityKey",
  c.relkind = 'r' AND EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE h.inhparent = c.oid) AS "hasInheritors",
  CASE WHEN c.relispartition THEN (
    SELECT json_build_object('schema', rn.nspname, 'name', r.relname)
    FROM pg_catalog.pg_class r JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace
    WHERE r.oid = pg_catalog.pg_partition_root(c.oid)
  ) END AS "partitionOf",
  a.attname AS column, a.atttypid::int8::float8 AS "typeOid", a.atttypmod AS typmod,
  pg_catalog.format_type(a.atttypid, a.atttypmod) AS "pgType", a.attnotnull AS "notNull",
  a.attgenerated <> '' AS generated, COALESCE(NOT co.collisdeterministic, false) AS nondeterministic,
  b.base_oid::int8::float8 AS "baseTypeOid", b.typtype::text AS "typeKind"
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN whole w ON w.root = c.oid
LEFT JOIN key_index pk ON pk.indrelid = c.oid AND pk.indisprimary
LEFT JOIN key_index ri ON ri.indrelid = c.oid AND ri.indisreplident
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_catalog.pg_collation co ON co.oid = a.attcollation
LEFT JOIN base b ON b.oid = a.atttypid AND b.typtype <> 'd'
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
ORDER BY c.oid, a.attnum
LIMIT ${columnsMax}`;

/** The tables, views and columns of the source, as the rules compiler wants them. @throws AppError */
export async function readCatalog(connection: SourceConnection): Promise<Catalog> {
  await using session = await openSession(connection);
  return await catalogFromSession(session);
}

export async function catalogFromSession(session: SourceSession): Promise<Catalog> {
  const tables: (CatalogTable & { readonly columns: CatalogColumn[] })[] = [];
  for (const row of await session.query<ColumnRow>(CATALOG_SQL)) {
    let table = tables.at(-1);
    if (table?.oid !== row.oid) {
      table = tableFromRow(row);
      tables.push(table);
    }
    if (row.column !== null) table.columns.push(columnFromRow(row, row.column));
  }
  return { tables };
}

function tableFromRow(row: ColumnRow): CatalogTable & { readonly columns: CatalogColumn[] } {
  return {
    schema: row.schema,
    name: row.table,
    oid: row.oid,
    kind: row.kind,
    persistence: row.persistence === 'p' ? 'permanent' : row.persistence === 'u' ? 'unlogged' : 'temporary',
    replicaIdentity: identityFromLetter(row.identity),
    columns: [],
    primaryKey: row.key,
    identityKey: row.identityKey,
    hasInheritors: row.hasInheritors,
    partitionOf: row.partitionOf ?? undefined,
  };
}

function columnFromRow(row: ColumnRow, name: string): CatalogColumn {
  return {
    name,
    typeOid: row.typeOid,
    typmod: row.typmod,
    pgType: row.pgType,
    notNull: row.notNull,
    generated: row.generated,
    nondeterministicCollation: row.nondeterministic,
    baseTypeOid: row.baseTypeOid,
    typeKind: row.typeKind,
  };
}

function identityFromLetter(letter: string): CatalogTable['replicaIdentity'] {
  if (letter === 'f') return 'full';
  if (letter === 'i') return 'index';
  return letter === 'n' ? 'nothing' : 'default';
}

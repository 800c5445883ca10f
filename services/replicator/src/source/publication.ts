import type { SourceTable } from '@sluice/sync-rules';
import type { SourceSession } from './connection.ts';
import { quoteIdentifier, quoteTable, tableKey } from './quote.ts';
import { COPIED_PREFIX, copiedShapesSql } from './table-shapes.ts';

/** A table as the publication holds it: by OID, whatever its name is now. */
export interface PublishedTable extends SourceTable {
  readonly oid: number;
}
export interface PublicationState {
  readonly oid: number;
  readonly tables: readonly PublishedTable[];
  /** We made it, and it sends every kind of change of whole tables, as we made it. */
  readonly isIntact: boolean;
}

/**
 * Rows of partitions come under the name and with the columns of the partitioned table. And from version 18 on a table of replica
 * identity FULL that has stored generated columns must publish them: otherwise the customer's own updates fail.
 */
async function publicationOptions(session: SourceSession): Promise<string> {
  const [row] = await session.query<{ version: number }>(
    "SELECT current_setting('server_version_num')::int AS version",
  );
  const generated = (row?.version ?? 0) >= 180_000 ? ', publish_generated_columns = stored' : '';
  return `publish_via_partition_root = true${generated}`;
}

/**
 * Makes a publication of exactly these tables; never FOR ALL TABLES, which would put tables without a replica identity
 * under it and make the customer's own updates fail. @throws AppError
 */
export async function createPublication(
  session: SourceSession,
  publication: string,
  tables: readonly SourceTable[],
): Promise<void> {
  const options = await publicationOptions(session);
  // One transaction: without its comment it would be taken for somebody else's.
  await session.query(
    `CREATE PUBLICATION ${quoteIdentifier(publication)} FOR TABLE ${tableList(tables)} WITH (${options}); ${copiedShapesSql(publication, {})}`,
  );
}

/** Makes the publication hold exactly these tables, changing only the difference. @throws AppError */
export async function setPublishedTables(
  session: SourceSession,
  publication: string,
  tables: readonly SourceTable[],
): Promise<void> {
  await addPublishedTables(session, publication, tables);
  const wanted = new Set(tables.map(tableKey));
  const state = await readPublication(session, publication);
  const extra = state?.tables.filter((table) => !wanted.has(tableKey(table))) ?? [];
  if (extra.length === 0) return;
  await session.query(`ALTER PUBLICATION ${quoteIdentifier(publication)} DROP TABLE ${tableList(extra)}`);
}

/** Adds those of the tables that the publication does not hold yet. @throws AppError */
export async function addPublishedTables(
  session: SourceSession,
  publication: string,
  tables: readonly SourceTable[],
): Promise<void> {
  const state = await readPublication(session, publication);
  const present = new Set(state?.tables.map(tableKey));
  const missing = tables.filter((table) => !present.has(tableKey(table)));
  if (missing.length === 0) return;
  await session.query(`ALTER PUBLICATION ${quoteIdentifier(publication)} ADD TABLE ${tableList(missing)}`);
}

export async function dropPublication(session: SourceSession, publication: string): Promise<void> {
  await session.query(`DROP PUBLICATION IF EXISTS ${quoteIdentifier(publication)}`);
}

/** Row filters and column lists exist from version 15 on, generated columns from 18; to_jsonb reads what older servers do not have. */
const PUBLICATION_SQL = `
SELECT p.oid::int8::float8 AS oid,
  p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate AND NOT p.puballtables
    AND starts_with(COALESCE(pg_catalog.obj_description(p.oid, 'pg_publication'), ''), '${COPIED_PREFIX}')
    AND p.pubviaroot AND COALESCE(to_jsonb(p) ->> 'pubgencols', 's') = 's'
    AND NOT EXISTS (
      SELECT FROM pg_catalog.pg_publication_rel r
      WHERE r.prpubid = p.oid AND (to_jsonb(r) ->> 'prqual' IS NOT NULL OR to_jsonb(r) ->> 'prattrs' IS NOT NULL)
    ) AS "isIntact",
  COALESCE((
    SELECT json_agg(json_build_object('oid', c.oid::int8, 'schema', n.nspname, 'name', c.relname) ORDER BY c.oid)
    FROM pg_catalog.pg_publication_rel r
    JOIN pg_catalog.pg_class c ON c.oid = r.prrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE r.prpubid = p.oid
  ), '[]') AS tables
FROM pg_catalog.pg_publication p
WHERE p.pubname = $1`;

/** Undefined when there is no such publication. @throws AppError */
export async function readPublication(
  session: SourceSession,
  publication: string,
): Promise<PublicationState | undefined> {
  const [row] = await session.query<PublicationState>(PUBLICATION_SQL, [publication]);
  return row;
}

function tableList(tables: readonly SourceTable[]): string {
  // ONLY: children of an inherited table have their own identity, which nobody has checked.
  return tables.map((table) => `ONLY ${quoteTable(table)}`).join(', ');
}

import type { KeyRange } from '@sluice/bucket-store';
import type { SourceSession } from './connection.ts';
import { quoteIdentifier, quoteLiteral } from './quote.ts';

/** A table with what ranges of it are made of. */
export interface KeyedTable {
  /** What stands after FROM. */
  readonly from: string;
  /** Columns of the primary key, else of the identity index, in the index's order; empty when they cannot be cut into ranges. */
  readonly key: readonly string[];
  /** Of the key's first column, as pg_stats has it; null when the table was never analysed. */
  readonly correlation: number | null;
  /** The table's own file, or those of its partitions, without indexes and values out of line. */
  readonly bytes: number;
}

const WHOLE: KeyRange = { lower: undefined, upper: undefined };
/** A key whose order says little about where its rows lie makes every range read most of the table. */
const scatteredRangesMax = 8;
/** Below this share (of pg_stats.correlation) a key counts as scattered. */
const correlationMin = 0.5;
const sampleRowsPerRange = 50;
/** Blocks that are sampled at least and at most, of 8 KB. */
const sampleBlocksMin = 64;
const sampleBlocksMax = 2000;
const blockBytes = 8192;

export interface RangeBounds {
  /** A range is about so many bytes of the table. */
  readonly rangeBytes: number;
  readonly rangesMax: number;
}

/**
 * Cuts a table into ranges of its key, within a snapshot session: which keys bound them is guessed from a sample of blocks, and
 * every key is in exactly one whatever the guess. Ranges are of keys and not of places in the file, since a row keeps its key
 * from one snapshot to the next, but not its place. @throws AppError
 */
export async function planRanges(
  session: SourceSession,
  table: KeyedTable,
  { rangeBytes, rangesMax }: RangeBounds,
): Promise<KeyRange[]> {
  const { bytes, key, correlation } = table;
  const isScattered = correlation !== null && Math.abs(correlation) < correlationMin;
  const wanted = Math.min(Math.ceil(bytes / rangeBytes), isScattered ? scatteredRangesMax : rangesMax);
  if (wanted <= 1 || key.length === 0) return [WHOLE];
  const bounds = await sampleBounds(session, table, wanted);
  const edges = [undefined, ...bounds, undefined];
  return edges.slice(1).map((upper, i) => ({ lower: edges[i], upper }));
}

const KEY_SQL = `
SELECT COALESCE(k.names, '{}') AS key, s.correlation,
  greatest(pg_catalog.pg_relation_size(c.oid), (
    SELECT sum(pg_catalog.pg_relation_size(relid)) FROM pg_catalog.pg_partition_tree(c.oid)
  ))::float8 AS bytes
FROM pg_catalog.pg_class c
LEFT JOIN LATERAL (
  -- The session sees no operators but those of pg_catalog: a type that brings its own would be compared in another order.
  SELECT CASE WHEN bool_and(e.typnamespace = 'pg_catalog'::regnamespace OR e.typtype = 'e')
    THEN array_agg(a.attname::text ORDER BY p.place) END AS names
  FROM (
    SELECT x.indkey, x.indnkeyatts FROM pg_catalog.pg_index x
    WHERE x.indrelid = c.oid AND (x.indisprimary OR x.indisreplident) ORDER BY x.indisprimary DESC LIMIT 1
  ) AS i
  CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS p (attnum, place)
  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = p.attnum
  JOIN pg_catalog.pg_type d ON d.oid = a.atttypid
  JOIN pg_catalog.pg_type e ON e.oid = CASE d.typtype WHEN 'd' THEN d.typbasetype ELSE d.oid END
  WHERE p.place <= i.indnkeyatts
) AS k ON true
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = k.names[1]
  AND s.inherited = (c.relkind = 'p')
WHERE c.oid = $1`;

/** What ranges of a table are made of, by the table's OID. @throws AppError */
export async function readTableKey(session: SourceSession, oid: number): Promise<Omit<KeyedTable, 'from'>> {
  const [found] = await session.query<Omit<KeyedTable, 'from'>>(KEY_SQL, [oid]);
  return found ?? { key: [], correlation: null, bytes: 0 };
}

/** Keys that cut a sample of the table's rows into equal pieces; fewer than wanted when the sample has few rows. */
async function sampleBounds(
  session: SourceSession,
  { from, key, bytes }: KeyedTable,
  wanted: number,
): Promise<string[][]> {
  const blocks = Math.min(Math.max(wanted * 4, sampleBlocksMin), sampleBlocksMax);
  const percent = Math.min(100, (100 * blocks * blockBytes) / bytes);
  const columns = key.map(quoteIdentifier);
  const rows = await session.query<{ bound: string[] }>(
    `SELECT ARRAY[${columns.map((column) => `${column}::text`).join(', ')}] AS bound FROM (
      SELECT ${columns.join(', ')}, row_number() OVER w AS place, count(*) OVER () AS total
      FROM ${from} TABLESAMPLE SYSTEM (${percent}) REPEATABLE (0)
      WINDOW w AS (ORDER BY ${columns.join(', ')})
    ) AS sample
    WHERE place > 1 AND (place - 1) * ${wanted} / total > (place - 2) * ${wanted} / total AND total >= ${sampleRowsPerRange}
    ORDER BY place`,
  );
  return rows.map(({ bound }) => bound);
}

/** The rows of a range as a WHERE clause, or nothing for the whole table. */
export function rangeCondition(key: readonly string[], { lower, upper }: KeyRange): string {
  const columns = `(${key.map(quoteIdentifier).join(', ')})`;
  // A literal without a type takes the column's, and the comparison the column's collation.
  const tuple = (texts: readonly string[]): string => `(${texts.map(quoteLiteral).join(', ')})`;
  const conditions = [
    ...(lower === undefined ? [] : [`${columns} >= ${tuple(lower)}`]),
    ...(upper === undefined ? [] : [`${columns} < ${tuple(upper)}`]),
  ];
  return conditions.length === 0 ? '' : ` WHERE ${conditions.join(' AND ')}`;
}

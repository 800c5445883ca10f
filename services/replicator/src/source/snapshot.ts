import { ByteWriter } from '@sluice/domain';
import { AppError, isAppError } from '@sluice/errors';
import { appendRecord } from '@sluice/op-queue';
import { appendRelationMessage, insertFromCopyLine, type RelationMessage } from '@sluice/pgoutput';
import type { SourceTable } from '@sluice/sync-rules';
import { to as copyTo } from 'pg-copy-streams';
import { openSession, type SourceConnection, type SourceSession } from './connection.ts';
import { LineSplitter } from './line-splitter.ts';
import { quoteIdentifier, quoteLiteral, quoteTable } from './quote.ts';
import { sourceError } from './source-error.ts';

/** A table as a copy finds it, described as the stream would describe it. */
export interface SnapshotTable extends SourceTable {
  readonly relation: Omit<RelationMessage, 'kind'>;
  /** What stands after FROM: the table without those that inherit from it, but with its partitions. */
  readonly from: string;
  /** The planner's estimate, -1 when the table was never analysed. */
  readonly rowsEstimate: number;
}

/** A piece of a table's copy: records as in a frame, one `R` and then `I` messages. */
export interface CopiedPart {
  readonly changes: Uint8Array;
  readonly rows: number;
  /** Rows that were left out, since their values together are larger than a row may be. */
  readonly rowsOversized: number;
  readonly last: boolean;
}

/**
 * Opens a session that sees the source exactly as of the exported snapshot. Must be called before the next command on the
 * session that exported it. @throws AppError
 */
export async function openSnapshot(connection: SourceConnection, snapshot: string): Promise<SourceSession> {
  const session = await openSession(connection);
  try {
    await session.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    await session.query(`SET TRANSACTION SNAPSHOT ${quoteLiteral(snapshot)}`);
    return session;
  } catch (error) {
    await session[Symbol.asyncDispose]();
    throw error;
  }
}

interface DescribedColumn {
  readonly oid: number;
  readonly isSameTable: boolean;
  readonly isPartitioned: boolean;
  readonly rowsEstimate: number;
  readonly name: string | null;
  readonly typeOid: number;
  readonly typmod: number;
}
/** Generated columns are in no WAL record, so that the copy leaves them out as well. */
const DESCRIBE_SQL = `
SELECT c.oid::int8::float8 AS oid, c.oid = pg_catalog.to_regclass($3)::oid AS "isSameTable", c.relkind = 'p' AS "isPartitioned",
  CASE WHEN c.relkind = 'r' THEN c.reltuples::float8 ELSE (
    SELECT sum(greatest(p.reltuples, 0))::float8
    FROM pg_catalog.pg_partition_tree(c.oid) t JOIN pg_catalog.pg_class p ON p.oid = t.relid WHERE t.isleaf
  ) END AS "rowsEstimate",
  a.attname AS name, a.atttypid::int8::float8 AS "typeOid", a.atttypmod AS typmod
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_attribute a
  ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p')
ORDER BY a.attnum`;

/**
 * Describes a table within a snapshot session and keeps it from being altered until that session ends.
 * @throws AppError SCHEMA_CHANGED when it was dropped, or dropped and made again, since the snapshot.
 */
export async function describeTable(session: SourceSession, table: SourceTable): Promise<SnapshotTable> {
  const quoted = quoteTable(table);
  await session.query(`LOCK TABLE ONLY ${quoted} IN ACCESS SHARE MODE`);
  const rows = await session.query<DescribedColumn>(DESCRIBE_SQL, [table.schema, table.name, quoted]);
  const [first] = rows;
  if (!first?.isSameTable) throw new AppError('SCHEMA_CHANGED', { details: { table: quoted } });
  if (first.isPartitioned) await session.query(`LOCK TABLE ${quoted} IN ACCESS SHARE MODE`);
  const columns = rows.flatMap(({ name, typeOid, typmod }) =>
    name === null ? [] : [{ name, typeOid, typmod, key: true }],
  );
  const { schema, name } = table;
  return {
    schema,
    name,
    from: first.isPartitioned ? quoted : `ONLY ${quoted}`,
    rowsEstimate: first.rowsEstimate,
    relation: { oid: first.oid, schema, name, replicaIdentity: 'f', columns },
  };
}

export interface CopyTableOptions {
  readonly table: SnapshotTable;
  /** A part is closed at the first row beyond it. */
  readonly partBytesMax: number;
  /** Largest row, in bytes of its values as they stand in a message. */
  readonly rowBytesMax: number;
}

/** Copies a table within a snapshot session, in parts; the last one may have no rows. @throws AppError */
export async function* copyTable(
  session: SourceSession,
  { table, partBytesMax, rowBytesMax }: CopyTableOptions,
): AsyncGenerator<CopiedPart, void, undefined> {
  const columns = table.relation.columns.map((column) => quoteIdentifier(column.name)).join(', ');
  const stream = session.client.query(copyTo(`COPY (SELECT ${columns} FROM ${table.from}) TO STDOUT`));
  const part = new PartWriter(table, rowBytesMax);
  const lines = new LineSplitter(rowBytesMax * 2 + table.relation.columns.length * 2, part);
  try {
    for await (const chunk of stream) {
      lines.push(chunk as Buffer);
      if (part.bytes >= partBytesMax) yield part.take(false);
    }
    lines.finish();
    yield part.take(true);
  } catch (error) {
    // A COPY that is given up in the middle leaves the session unusable.
    session.destroy();
    throw isAppError(error) ? error : sourceError(error);
  }
}

/** Kind, OID, new-tuple mark and column count of an Insert: what is not the row itself. */
const INSERT_HEADER_BYTES = 8;

/** Turns COPY lines into the records of one part after the other. */
class PartWriter {
  private readonly table: SnapshotTable;
  private readonly rowBytesMax: number;
  private readonly relation: Uint8Array;
  private out = new ByteWriter(1 << 20);
  private rows = 0;
  private rowsOversized = 0;

  constructor(table: SnapshotTable, rowBytesMax: number) {
    this.table = table;
    this.rowBytesMax = rowBytesMax;
    const relation = new ByteWriter();
    appendRelationMessage(relation, table.relation);
    this.relation = relation.take();
    this.begin();
  }

  get bytes(): number {
    return this.out.length;
  }

  line(source: Uint8Array, start: number, end: number): void {
    const { out } = this;
    const { columns, oid } = this.table.relation;
    const lengthAt = out.length;
    out.u32(0);
    insertFromCopyLine(source, start, end, columns.length, oid, out);
    const size = out.length - lengthAt - 4;
    if (size - INSERT_HEADER_BYTES > this.rowBytesMax) {
      out.length = lengthAt;
      this.oversizedLine();
      return;
    }
    out.view.setUint32(lengthAt, size, true);
    this.rows++;
  }

  oversizedLine(): void {
    this.rowsOversized++;
    this.rows++;
  }

  take(last: boolean): CopiedPart {
    const part = { changes: this.out.take(), rows: this.rows, rowsOversized: this.rowsOversized, last };
    this.begin();
    return part;
  }

  private begin(): void {
    this.out.reset();
    this.rows = 0;
    this.rowsOversized = 0;
    appendRecord(this.out, this.relation);
  }
}

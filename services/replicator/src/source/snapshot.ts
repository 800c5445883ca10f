import type { KeyRange } from '@sluice/bucket-store';
import { ByteWriter } from '@sluice/domain';
import { AppError, assert, isAppError } from '@sluice/errors';
import { appendRecord } from '@sluice/op-queue';
import { appendRelationMessage, insertFromCopyLine, type RelationMessage } from '@sluice/pgoutput';
import type { SourceConnection } from '@sluice/source-connection';
import { sourceError } from '@sluice/source-connection';
import type { SourceTable } from '@sluice/sync-rules';
import { openSession, type SourceSession } from './connection.ts';
import { type CopyOutSink, copyOut } from './copy-out.ts';
import { type KeyedTable, rangeCondition, readTableKey } from './key-ranges.ts';
import { LineSplitter } from './line-splitter.ts';
import { quoteIdentifier, quoteLiteral, quoteTable } from './quote.ts';

/** A table as a copy finds it, described as the stream would describe it. */
export interface SnapshotTable extends SourceTable, KeyedTable {
  readonly relation: Omit<RelationMessage, 'kind'>;
  /** The planner's estimate, or a guess from the table's size when it was never analysed. */
  readonly rowsEstimate: number;
}

/** Sessions that see the source exactly as of one consistent point, side by side. */
export interface Snapshot extends AsyncDisposable {
  readonly sessions: readonly SourceSession[];
  /** Server processes of the sessions. */
  readonly pids: readonly number[];
}

/** A piece of a table's copy: records as in a frame, one `R` and then `I` messages. */
export interface CopiedPart {
  readonly changes: Uint8Array;
  readonly rows: number;
  /** Rows that were left out, since their values together are larger than a row may be. */
  readonly rowsOversized: number;
  readonly last: boolean;
}

export interface OpenSnapshotOptions {
  /** Name of the exported one. */
  readonly snapshot: string;
  readonly sessions: number;
  /** A statement that waits for a table longer than this fails with SOURCE_LOCKED. Milliseconds. */
  readonly lockWaitMs: number;
}

/**
 * Opens sessions that see the source exactly as of the exported snapshot. Must have settled before the next command on the
 * session that exported it. @throws AppError
 */
export async function openSnapshot(
  connection: SourceConnection,
  { snapshot, sessions: count, lockWaitMs }: OpenSnapshotOptions,
): Promise<Snapshot> {
  const opened = await Promise.allSettled(Array.from({ length: count }, () => openSession(connection)));
  const sessions = opened.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  const close = async (): Promise<void> => {
    await Promise.all(sessions.map((session) => session[Symbol.asyncDispose]()));
  };
  try {
    // A role with few connections left copies with those that it gets.
    const [first] = opened;
    if (sessions.length === 0 && first?.status === 'rejected') throw first.reason;
    const pids = await Promise.all(sessions.map((session) => importSnapshot(session, snapshot, lockWaitMs)));
    return { sessions, pids, [Symbol.asyncDispose]: close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Returns the session's server process. */
async function importSnapshot(session: SourceSession, snapshot: string, lockWaitMs: number): Promise<number> {
  await session.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
  await session.query(`SET TRANSACTION SNAPSHOT ${quoteLiteral(snapshot)}`);
  await session.query(`SET LOCAL lock_timeout = ${lockWaitMs}`);
  const [row] = await session.query<{ pid: number }>('SELECT pg_catalog.pg_backend_pid() AS pid');
  assert(row, 'a session has a process');
  return row.pid;
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

/** Of a table that was never analysed. */
const guessedRowBytes = 128;

/**
 * Describes a table within a snapshot session and keeps it from being altered until that session ends.
 * @throws AppError SCHEMA_CHANGING when it was dropped, or dropped and made again, since the snapshot.
 */
export async function describeTable(session: SourceSession, table: SourceTable): Promise<SnapshotTable> {
  const quoted = quoteTable(table);
  await session.query(`LOCK TABLE ONLY ${quoted} IN ACCESS SHARE MODE`);
  const rows = await session.query<DescribedColumn>(DESCRIBE_SQL, [table.schema, table.name, quoted]);
  const [first] = rows;
  if (!first?.isSameTable) throw new AppError('SCHEMA_CHANGING', { details: { table: quoted } });
  if (first.isPartitioned) await session.query(`LOCK TABLE ${quoted} IN ACCESS SHARE MODE`);
  const columns = rows.flatMap(({ name, typeOid, typmod }) =>
    name === null ? [] : [{ name, typeOid, typmod, key: true }],
  );
  const { schema, name } = table;
  const keyed = await readTableKey(session, first.oid);
  return {
    schema,
    name,
    from: first.isPartitioned ? quoted : `ONLY ${quoted}`,
    ...keyed,
    rowsEstimate: first.rowsEstimate > 0 ? first.rowsEstimate : Math.ceil(keyed.bytes / guessedRowBytes),
    relation: { oid: first.oid, schema, name, replicaIdentity: 'f', columns },
  };
}

export interface CopyRangeOptions {
  readonly table: SnapshotTable;
  readonly range: KeyRange;
  /** A part is closed at the first row beyond it. */
  readonly partBytesMax: number;
  /** Largest row, in bytes of its values as they stand in a message. */
  readonly rowBytesMax: number;
}

/** Copies a range of a table within a snapshot session, in parts; the last one may have no rows. @throws AppError */
export async function* copyRange(
  session: SourceSession,
  { table, range, partBytesMax, rowBytesMax }: CopyRangeOptions,
): AsyncGenerator<CopiedPart, void, undefined> {
  const columns = table.relation.columns.map((column) => quoteIdentifier(column.name)).join(', ');
  const rows = `SELECT ${columns} FROM ${table.from}${rangeCondition(table.key, range)}`;
  const part = new PartWriter(table, { partBytesMax, rowBytesMax });
  let isEnded = false;
  try {
    for await (const _ of copyOut(session.client, `COPY (${rows}) TO STDOUT`, part)) yield part.take(false);
    isEnded = true;
    yield part.takeLast();
  } catch (error) {
    throw isAppError(error) ? error : sourceError(error);
  } finally {
    // A COPY that is given up in the middle leaves the session unusable.
    if (!isEnded) session.destroy();
  }
}

const NO_BYTES = new Uint8Array(0);
/** Kind, OID, new-tuple mark and column count of an Insert: what is not the row itself. */
const INSERT_HEADER_BYTES = 8;

/** Turns COPY lines into the records of one part after the other. */
class PartWriter implements CopyOutSink {
  private readonly table: SnapshotTable;
  private readonly partBytesMax: number;
  private readonly rowBytesMax: number;
  private readonly lines: LineSplitter;
  private readonly relation: Uint8Array;
  private out = new ByteWriter(1 << 20);
  /** Where the last line stood, and a view of it. */
  private source: Uint8Array = NO_BYTES;
  private view: DataView = new DataView(NO_BYTES.buffer);
  private rows = 0;
  private rowsOversized = 0;

  constructor(table: SnapshotTable, bounds: Pick<CopyRangeOptions, 'partBytesMax' | 'rowBytesMax'>) {
    this.table = table;
    this.partBytesMax = bounds.partBytesMax;
    this.rowBytesMax = bounds.rowBytesMax;
    // Escapes make a line at most twice as long as its values.
    this.lines = new LineSplitter(bounds.rowBytesMax * 2 + table.relation.columns.length * 2, this);
    const relation = new ByteWriter();
    appendRelationMessage(relation, table.relation);
    this.relation = relation.take();
    this.begin();
  }

  get isFull(): boolean {
    return this.out.length >= this.partBytesMax;
  }

  data(source: Uint8Array, start: number, end: number): void {
    this.lines.push(source, start, end);
  }

  line(source: Uint8Array, start: number, end: number): void {
    const { out } = this;
    const { columns, oid } = this.table.relation;
    const lengthAt = out.length;
    out.u32(0);
    if (source !== this.source) {
      this.source = source;
      this.view = new DataView(source.buffer, source.byteOffset, source.byteLength);
    }
    insertFromCopyLine(source, this.view, start, end, columns.length, oid, out);
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

  /** @throws AppError SOURCE_PROTOCOL when the last line has no end */
  takeLast(): CopiedPart {
    this.lines.finish();
    return this.take(true);
  }

  private begin(): void {
    this.out.reset();
    this.rows = 0;
    this.rowsOversized = 0;
    appendRecord(this.out, this.relation);
  }
}

import { ByteWriter } from '@sluice/domain';
import { AppError, isAppError } from '@sluice/errors';
import { appendMutation, type ColumnChange, LIMITS, type Mutation, type TableSchema } from '@sluice/protocol';
import type { WriteOperation } from '../../types.ts';
import type { ResultFrame } from '../query/frame.ts';
import { readFrame } from '../query/read-frame.ts';
import { sqlValue } from '../query/run-query.ts';
import type { Database } from '../sqlite/database.ts';
import { SQLITE, SqliteFailure } from '../sqlite/module.ts';
import { codedError } from '../store/coded-error.ts';
import type { Schema } from '../store/schema.ts';
import type { Overlay } from './overlay.ts';
import type { StoredRow } from './row-access.ts';
import { captureRows, type RowChange } from './row-capture.ts';
import { isNullCell, isSameCell, joinCells, type RowImage } from './row-image.ts';
import { statementOf, type WriteStatement } from './write-sql.ts';

/** Bytes that RETURNING of one operation may give; they are kept until the tab that asked has them. */
const RETURNED_BYTES_MAX = 16 * 1024 * 1024;

export interface LocalWrite {
  /** What is to be sent; undefined when no row became another. */
  readonly payload: Uint8Array | undefined;
  readonly changedTables: ReadonlySet<string>;
  /** One for each operation: what `RETURNING` gave. */
  readonly results: readonly ResultFrame[];
}

/**
 * Runs the operations within the caller's transaction, keeps the server's form of every row that they touch, and gives what is to be
 * sent. @throws AppError CLIENT_WRITE_*, CLIENT_QUERY_*; the caller rolls back
 */
export function runLocalWrite(
  db: Database,
  options: { readonly schema: Schema; readonly overlay: Overlay; readonly operations: readonly WriteOperation[] },
): LocalWrite {
  const { schema, overlay, operations } = options;
  const recorder = new Recorder();
  const results = captureRows(
    db,
    schema.tables,
    (change) => recorder.add(change),
    () =>
      operations.map((operation) => {
        const statement = statementOf(operation, schema);
        recorder.isUpsert = statement.isUpsert;
        return runStatement(db, statement, schema);
      }),
  );
  for (const { table, key, before } of recorder.bases) overlay.keep(table, key, before);
  return { payload: recorder.payload(), changedTables: recorder.tables, results };
}

/** Gathers what changes, in order. */
class Recorder {
  readonly tables = new Set<string>();
  /** Rows as they were; of several with one key the first is the one before the transaction. Nothing may be written while the engine tells of rows. */
  readonly bases: { readonly table: string; readonly key: Uint8Array; readonly before: StoredRow | undefined }[] = [];
  /** Whether the statement that runs is an upsert. */
  isUpsert = false;
  readonly #out = new ByteWriter(512);
  #count = 0;

  add(change: RowChange): void {
    const mutation = mutationOf(change, this.isUpsert);
    if (!mutation) return;
    this.tables.add(mutation.table);
    const before = change.kind === 'insert' ? undefined : change.before;
    this.bases.push({ table: mutation.table, key: mutation.key, before });
    appendMutation(this.#out, mutation);
    this.#count++;
    if (this.#count > LIMITS.uploadMutationsMax || this.#out.length > LIMITS.uploadBytesMax)
      throw new AppError('CLIENT_WRITE_TOO_LARGE', {
        details: { bytesMax: LIMITS.uploadBytesMax, rowsMax: LIMITS.uploadMutationsMax },
      });
  }

  payload(): Uint8Array | undefined {
    return this.#count === 0 ? undefined : this.#out.take();
  }
}

/** Undefined for an update that changed nothing. */
function mutationOf(change: RowChange, isUpsert: boolean): Mutation | undefined {
  const { table } = change;
  const image = change.kind === 'delete' ? change.before.cells : change.after;
  const key = joinCells(image.slice(0, table.keyColumns));
  const of = { table: table.name, key, keyCells: table.keyColumns };
  switch (change.kind) {
    case 'insert':
      // A column that is NULL is left to the default of the source.
      return { ...of, kind: isUpsert ? 'upsert' : 'insert', columns: given(table, change.after) };
    case 'update': {
      const columns = changed(table, change.before.cells, change.after);
      if (columns.length === 0) return undefined;
      // Where the row is gone by then it is made whole again; where it is not, only what changed is written.
      return isUpsert ? { ...of, kind: 'upsert', columns: whole(table, change) } : { ...of, kind: 'update', columns };
    }
    case 'delete':
      return { ...of, kind: 'delete', columns: removed(table, change.before.cells) };
  }
}

function given(table: TableSchema, after: RowImage): ColumnChange[] {
  return rest(table, (column, i) => {
    const value = after[i];
    return value && !isNullCell(value) ? { column, value, previous: undefined } : undefined;
  });
}
function changed(table: TableSchema, before: RowImage, after: RowImage): ColumnChange[] {
  return rest(table, (column, i) => {
    const [previous, value] = [before[i], after[i]];
    return previous && value && !isSameCell(previous, value) ? { column, value, previous } : undefined;
  });
}
function whole(table: TableSchema, { before, after }: Extract<RowChange, { kind: 'update' }>): ColumnChange[] {
  return rest(table, (column, i) => ({ column, value: after[i], previous: before.cells[i] }));
}
function removed(table: TableSchema, before: RowImage): ColumnChange[] {
  return rest(table, (column, i) => ({ column, value: undefined, previous: before[i] }));
}
function rest(
  table: TableSchema,
  changeOf: (column: string, index: number) => ColumnChange | undefined,
): ColumnChange[] {
  return table.columns.flatMap(({ name }, i) => (i < table.keyColumns ? [] : (changeOf(name, i) ?? [])));
}

function runStatement(db: Database, { sql, parameters }: WriteStatement, schema: Schema): ResultFrame {
  const values = parameters.map(sqlValue);
  try {
    return db.whileWriting(writableColumns(schema), () => {
      const { statement, rest: after } = db.prepareFirst(sql);
      if (!statement) throw invalid('there is no statement');
      try {
        if (after.trim() !== '') throw invalid('there is more than one statement; give each its own operation');
        const places = db.module.c.sqlite3_bind_parameter_count(statement.pointer);
        if (places !== values.length) throw invalid(`${places} places, ${values.length} values`);
        statement.bindAll(values);
        return readFrame(statement, RETURNED_BYTES_MAX);
      } finally {
        statement.finalize();
      }
    });
  } catch (error) {
    throw writeError(error);
  }
}

/** By table, the columns that a statement may set: all but the key's, and those that are ours. */
function writableColumns({ tables }: Schema): ReadonlyMap<string, ReadonlySet<string>> {
  const names = (table: TableSchema): ReadonlySet<string> =>
    new Set(table.columns.slice(table.keyColumns).map(({ name }) => name));
  // What the server tells of writes is not the app's to write.
  const own = [...tables].filter(([name]) => !name.startsWith('sluice_'));
  return new Map(own.map(([name, table]) => [name, names(table)]));
}

function writeError(error: unknown): unknown {
  if (isAppError(error) || !(error instanceof SqliteFailure)) return error;
  if (error.primary === SQLITE.auth) return new AppError('CLIENT_WRITE_FORBIDDEN', { cause: error });
  if (error.primary === SQLITE.error || error.primary === SQLITE.constraint || error.primary === SQLITE.mismatch)
    return new AppError('CLIENT_WRITE_INVALID', { details: { reason: error.message }, cause: error });
  return codedError(error);
}
function invalid(reason: string): AppError {
  return new AppError('CLIENT_WRITE_INVALID', { details: { reason } });
}

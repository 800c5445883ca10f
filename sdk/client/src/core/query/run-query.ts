import { AppError } from '@sluice/errors';
import type { Database, SqlValue } from '../sqlite/database.ts';
import { SQLITE, SqliteFailure } from '../sqlite/module.ts';
import type { Statement } from '../sqlite/statement.ts';
import { codedError } from '../store/coded-error.ts';
import type { ResultFrame } from './frame.ts';
import { readFrame } from './read-frame.ts';

/** Bytes of UTF-16 text that one query may have. */
const SQL_LENGTH_MAX = 1024 * 1024;
const STATEMENTS_MAX = 64;

/** What an app may bind. */
export type QueryParameter = null | boolean | number | bigint | string | Uint8Array;

/** Compiled queries of apps, all of which only read. */
export class QueryRunner {
  readonly #db: Database;
  readonly #statements = new Map<string, Statement>();

  constructor(db: Database) {
    this.#db = db;
  }

  /** @throws AppError CLIENT_QUERY_* */
  run(sql: string, parameters: readonly QueryParameter[]): ResultFrame {
    const values = parameters.map(sqlValue);
    try {
      const statement = this.#statement(sql);
      const places = this.#db.module.c.sqlite3_bind_parameter_count(statement.pointer);
      if (places !== values.length) throw parameterError(`${places} places, ${values.length} values`);
      try {
        statement.bindAll(values);
        // A changed schema compiles the statement again while it steps, so the guard stands here too.
        return this.#db.whileReadOnly(() => readFrame(statement));
      } finally {
        statement.reset();
      }
    } catch (error) {
      throw queryError(error);
    }
  }

  /** Names of the tables that the query reads, also through views, subqueries and covering indexes. @throws AppError */
  tablesOf(sql: string): ReadonlySet<string> {
    const tables = new Set<string>();
    try {
      this.#statement(sql);
      this.#db.forEachRow(
        'SELECT DISTINCT m.tbl_name FROM tables_used(?) u JOIN sqlite_schema m ON m.name = u.name',
        [sql],
        (row) => tables.add(row.text(0)),
      );
    } catch (error) {
      throw queryError(error);
    }
    return tables;
  }

  #statement(sql: string): Statement {
    const known = this.#statements.get(sql);
    if (known) {
      this.#statements.delete(sql);
      this.#statements.set(sql, known);
      return known;
    }
    const statement = this.#compile(sql);
    this.#statements.set(sql, statement);
    if (this.#statements.size > STATEMENTS_MAX) this.#evictOldest();
    return statement;
  }
  #compile(sql: string): Statement {
    if (sql.length > SQL_LENGTH_MAX || sql.includes('\0'))
      throw new AppError('CLIENT_QUERY_INVALID', { details: { reason: 'the text is too long or holds a NUL' } });
    return this.#db.whileReadOnly(() => {
      const { statement, rest } = this.#db.prepareFirst(sql, SQLITE.preparePersistent);
      if (!statement) throw new AppError('CLIENT_QUERY_INVALID', { details: { reason: 'there is no statement' } });
      const isReading = this.#db.module.c.sqlite3_stmt_readonly(statement.pointer) === 1;
      if (isReading && this.#isBlank(rest)) return statement;
      statement.finalize();
      throw new AppError('CLIENT_QUERY_NOT_READ_ONLY');
    });
  }
  /** Nothing but space, comments and semicolons. */
  #isBlank(sql: string): boolean {
    for (let rest = sql; rest.trim() !== ''; ) {
      const next = this.#db.prepareFirst(rest);
      next.statement?.finalize();
      if (next.statement || next.rest === rest) return false;
      rest = next.rest;
    }
    return true;
  }
  #evictOldest(): void {
    for (const [sql, statement] of this.#statements) {
      this.#statements.delete(sql);
      statement.finalize();
      return;
    }
  }

  close(): void {
    for (const statement of this.#statements.values()) statement.finalize();
    this.#statements.clear();
  }
}

/** @throws AppError CLIENT_QUERY_PARAMETER_INVALID */
export function sqlValue(value: QueryParameter | undefined, index: number): SqlValue {
  if (typeof value === 'boolean') return value ? 1 : 0;
  if (value === null || typeof value === 'string' || value instanceof Uint8Array) return value;
  if (typeof value === 'number' && !Number.isNaN(value)) return value;
  if (typeof value === 'bigint' && BigInt.asIntN(64, value) === value) return value;
  throw parameterError(`place ${index + 1}`);
}
function parameterError(reason: string): AppError {
  return new AppError('CLIENT_QUERY_PARAMETER_INVALID', { details: { reason } });
}

function queryError(error: unknown): unknown {
  if (!(error instanceof SqliteFailure)) return error;
  if (error.primary === SQLITE.auth) return new AppError('CLIENT_QUERY_NOT_READ_ONLY', { cause: error });
  if (error.primary === SQLITE.error)
    return new AppError('CLIENT_QUERY_INVALID', { details: { reason: error.message }, cause: error });
  return codedError(error);
}

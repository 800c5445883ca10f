import { type Pointer, SQLITE, SqliteFailure, type SqliteModule } from './module.ts';
import { Statement } from './statement.ts';

const encoder = new TextEncoder();
const CACHED_STATEMENTS_MAX = 64;

/** By table, the columns that may be updated. */
export type Permits = ReadonlyMap<string, ReadonlySet<string>>;
const NOTHING: Permits = new Map();

/** One open connection. Everything is synchronous; only one owner may hold a database file at a time. */
export class Database {
  readonly module: SqliteModule;
  readonly pointer: Pointer;
  /** What may be prepared just now; undefined for everything. */
  #permits: Permits | undefined;
  readonly #cache = new Map<string, Statement>();
  #closed = false;

  private constructor(module: SqliteModule, pointer: Pointer) {
    this.module = module;
    this.pointer = pointer;
  }

  /** @param vfs name of a registered VFS, or undefined for the default one. @throws SqliteFailure */
  static open(module: SqliteModule, name: string, vfs: string | undefined): Database {
    const { c } = module;
    const namePointer = module.copyIn(encoder.encode(`${name}\0`));
    const vfsPointer = vfs === undefined ? 0 : module.copyIn(encoder.encode(`${vfs}\0`));
    try {
      const rc = c.sqlite3_open_v2(namePointer, module.out, SQLITE.openReadWriteCreate, vfsPointer);
      const pointer = module.readPointer(module.out);
      if (rc !== SQLITE.ok) {
        const message = pointer === 0 ? 'cannot open' : module.readString(c.sqlite3_errmsg(pointer));
        if (pointer !== 0) c.sqlite3_close_v2(pointer);
        throw new SqliteFailure(rc, message);
      }
      c.sqlite3_extended_result_codes(pointer, 1);
      const database = new Database(module, pointer);
      database.#installAuthorizer();
      return database;
    } finally {
      module.free(namePointer);
      if (vfsPointer !== 0) module.free(vfsPointer);
    }
  }

  /** The authorizer is asked while a statement is prepared; setting it anew would expire every prepared statement. */
  #installAuthorizer(): void {
    const { capi } = this.module.api;
    const readActions = new Set([
      capi.SQLITE_SELECT,
      capi.SQLITE_READ,
      capi.SQLITE_FUNCTION,
      capi.SQLITE_RECURSIVE,
    ] as number[]);
    const authorize = (_context: unknown, action: number, first: unknown, second: unknown): number => {
      const permits = this.#permits;
      if (!permits || readActions.has(action)) return capi.SQLITE_OK;
      const columns = permits.get(String(first));
      if (columns && (action === capi.SQLITE_INSERT || action === capi.SQLITE_DELETE)) return capi.SQLITE_OK;
      return columns?.has(String(second)) && action === capi.SQLITE_UPDATE ? capi.SQLITE_OK : capi.SQLITE_DENY;
    };
    capi.sqlite3_set_authorizer(this.pointer, authorize, 0);
  }

  /** @throws SqliteFailure */
  check(rc: number): void {
    if (rc !== SQLITE.ok) throw this.failure(rc);
  }
  failure(rc: number): SqliteFailure {
    const { c } = this.module;
    const extended = c.sqlite3_extended_errcode(this.pointer);
    const code = (extended & 0xff) === (rc & 0xff) ? extended : rc;
    return new SqliteFailure(code, this.module.readString(c.sqlite3_errmsg(this.pointer)));
  }

  /** Compiles the first statement of `sql`; `rest` is what follows it. The caller finalizes. @throws SqliteFailure */
  prepareFirst(sql: string, flags = 0): { statement: Statement | undefined; rest: string } {
    const { module } = this;
    const encoded = encoder.encode(`${sql}\0`);
    const at = module.copyIn(encoded);
    try {
      this.check(module.c.sqlite3_prepare_v3(this.pointer, at, encoded.length, flags, module.out, module.out + 4));
      const pointer = module.readPointer(module.out);
      const tail = module.readPointer(module.out + 4);
      const rest = new TextDecoder().decode(encoded.subarray(tail - at, encoded.length - 1));
      return { statement: pointer === 0 ? undefined : new Statement(this, pointer), rest };
    } finally {
      module.free(at);
    }
  }

  /** Compiles one statement for the caller to finalize. @throws SqliteFailure */
  prepare(sql: string): Statement {
    const { statement } = this.prepareFirst(sql, SQLITE.preparePersistent);
    if (!statement) throw new SqliteFailure(SQLITE.error, 'no statement');
    return statement;
  }

  /** Runs `fn` with a guard: whatever it prepares may only read (no PRAGMA, ATTACH, BEGIN or write). */
  whileReadOnly<T>(fn: () => T): T {
    return this.whileWriting(NOTHING, fn);
  }
  /** As `whileReadOnly`, but statements may insert into and delete from these tables and update these columns of them. */
  whileWriting<T>(permits: Permits, fn: () => T): T {
    this.#permits = permits;
    try {
      return fn();
    } finally {
      this.#permits = undefined;
    }
  }

  /** A statement of a small, least-recently-used cache, reset and without bindings; the caller resets it after use. */
  cached(sql: string): Statement {
    const known = this.#cache.get(sql);
    if (known) this.#cache.delete(sql);
    const statement = known ?? this.prepare(sql);
    this.#cache.set(sql, statement);
    if (this.#cache.size > CACHED_STATEMENTS_MAX) this.#evictOldest();
    return statement;
  }
  #evictOldest(): void {
    for (const [sql, statement] of this.#cache) {
      this.#cache.delete(sql);
      statement.finalize();
      return;
    }
  }

  /** Runs one statement to its end with the given values. @throws SqliteFailure */
  run(sql: string, values: readonly SqlValue[] = []): void {
    const statement = this.cached(sql);
    try {
      statement.bindAll(values);
      while (statement.step());
    } finally {
      statement.reset();
    }
  }
  /** Runs every statement of a script. @throws SqliteFailure */
  script(sql: string): void {
    for (let rest = sql; rest.trim() !== ''; ) {
      const next = this.prepareFirst(rest);
      rest = next.rest;
      try {
        while (next.statement?.step());
      } finally {
        next.statement?.finalize();
      }
    }
  }
  /** Visits each row; the statement must not be kept. @throws SqliteFailure */
  forEachRow(sql: string, values: readonly SqlValue[], visit: (row: Statement) => void): void {
    const statement = this.cached(sql);
    try {
      statement.bindAll(values);
      while (statement.step()) visit(statement);
    } finally {
      statement.reset();
    }
  }

  /** Rows that the last INSERT, UPDATE or DELETE changed. */
  get changes(): number {
    return this.module.c.sqlite3_changes(this.pointer);
  }
  get inTransaction(): boolean {
    return this.module.c.sqlite3_get_autocommit(this.pointer) === 0;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const statement of this.#cache.values()) statement.finalize();
    this.#cache.clear();
    // The wrapper also lets go of the authorizer.
    this.module.api.capi.sqlite3_close_v2(this.pointer);
  }
}

/** What can be bound; booleans and other kinds are turned into these at the rim. */
export type SqlValue = null | number | bigint | string | Uint8Array;

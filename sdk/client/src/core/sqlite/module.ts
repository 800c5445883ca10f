import type { Sqlite3Static } from '@sqlite.org/sqlite-wasm';

/** A pointer into the memory of the SQLite build, which is 32-bit. */
export type Pointer = number;

/**
 * The C functions that hot paths call without the wrappers of the package: a wrapper converts each argument, and that,
 * not SQLite, is what limits a replica. 64-bit integers are bigints.
 */
export interface SqliteExports {
  readonly sqlite3_malloc: (bytes: number) => Pointer;
  readonly sqlite3_free: (at: Pointer) => void;
  readonly sqlite3_open_v2: (name: Pointer, out: Pointer, flags: number, vfs: Pointer) => number;
  readonly sqlite3_close_v2: (db: Pointer) => number;
  readonly sqlite3_extended_result_codes: (db: Pointer, on: number) => number;
  readonly sqlite3_extended_errcode: (db: Pointer) => number;
  readonly sqlite3_errmsg: (db: Pointer) => Pointer;
  readonly sqlite3_get_autocommit: (db: Pointer) => number;
  readonly sqlite3_changes: (db: Pointer) => number;
  readonly sqlite3_prepare_v3: (
    db: Pointer,
    sql: Pointer,
    bytes: number,
    flags: number,
    out: Pointer,
    tail: Pointer,
  ) => number;
  readonly sqlite3_finalize: (statement: Pointer) => number;
  readonly sqlite3_step: (statement: Pointer) => number;
  readonly sqlite3_reset: (statement: Pointer) => number;
  readonly sqlite3_clear_bindings: (statement: Pointer) => number;
  readonly sqlite3_stmt_readonly: (statement: Pointer) => number;
  readonly sqlite3_bind_parameter_count: (statement: Pointer) => number;
  readonly sqlite3_bind_null: (statement: Pointer, place: number) => number;
  readonly sqlite3_bind_int: (statement: Pointer, place: number, value: number) => number;
  readonly sqlite3_bind_int64: (statement: Pointer, place: number, value: bigint) => number;
  readonly sqlite3_bind_double: (statement: Pointer, place: number, value: number) => number;
  readonly sqlite3_bind_text: (s: Pointer, place: number, at: Pointer, bytes: number, destructor: number) => number;
  readonly sqlite3_bind_blob: (s: Pointer, place: number, at: Pointer, bytes: number, destructor: number) => number;
  readonly sqlite3_column_count: (statement: Pointer) => number;
  readonly sqlite3_column_name: (statement: Pointer, column: number) => Pointer;
  readonly sqlite3_column_type: (statement: Pointer, column: number) => number;
  readonly sqlite3_column_int: (statement: Pointer, column: number) => number;
  readonly sqlite3_column_int64: (statement: Pointer, column: number) => bigint;
  readonly sqlite3_column_double: (statement: Pointer, column: number) => number;
  readonly sqlite3_column_text: (statement: Pointer, column: number) => Pointer;
  readonly sqlite3_column_blob: (statement: Pointer, column: number) => Pointer;
  readonly sqlite3_column_bytes: (statement: Pointer, column: number) => number;
  readonly sqlite3_preupdate_old: (db: Pointer, column: number, out: Pointer) => number;
  readonly sqlite3_preupdate_new: (db: Pointer, column: number, out: Pointer) => number;
  readonly sqlite3_value_type: (value: Pointer) => number;
  readonly sqlite3_value_int64: (value: Pointer) => bigint;
  readonly sqlite3_value_double: (value: Pointer) => number;
  readonly sqlite3_value_blob: (value: Pointer) => Pointer;
  readonly sqlite3_value_bytes: (value: Pointer) => number;
}

export const SQLITE = {
  ok: 0,
  error: 1,
  busy: 5,
  nomem: 7,
  ioerr: 10,
  corrupt: 11,
  full: 13,
  cantOpen: 14,
  constraint: 19,
  mismatch: 20,
  auth: 23,
  notADatabase: 26,
  row: 100,
  done: 101,
  integer: 1,
  float: 2,
  text: 3,
  blob: 4,
  null: 5,
  openReadWriteCreate: 0x6,
  preparePersistent: 0x1,
  /** Destructor arguments: the memory outlives the binding, or is copied at once. */
  static: 0,
  transient: -1,
} as const;

/** One instance of the SQLite build; many databases may share it. */
export class SqliteModule {
  readonly api: Sqlite3Static;
  readonly c: SqliteExports;
  readonly #memory: WebAssembly.Memory;
  #bytes: Uint8Array;
  /** Room for two pointers that C functions write to. */
  readonly out: Pointer;

  constructor(api: Sqlite3Static) {
    this.api = api;
    // The package types its exports as `any`; the names above are those of the C API, which module.test.ts checks.
    this.c = api.wasm.exports as SqliteExports;
    // The package's types forget `memory`, which its documentation names beside `exports`.
    this.#memory = (api.wasm as unknown as { memory: WebAssembly.Memory }).memory;
    this.#bytes = new Uint8Array(this.#memory.buffer);
    this.out = this.allocate(16);
  }

  /** The memory as it is now. A view taken before a call that allocates may be detached after it. */
  bytes(): Uint8Array {
    if (this.#bytes.buffer !== this.#memory.buffer) this.#bytes = new Uint8Array(this.#memory.buffer);
    return this.#bytes;
  }

  /** @throws SqliteFailure when memory is exhausted. The caller frees. */
  allocate(count: number): Pointer {
    const at = this.c.sqlite3_malloc(Math.max(count, 1));
    if (at === 0) throw new SqliteFailure(SQLITE.nomem, 'out of memory');
    return at;
  }
  /** Copies bytes into SQLite's memory; the caller frees. */
  copyIn(source: Uint8Array): Pointer {
    const at = this.allocate(source.length);
    this.bytes().set(source, at);
    return at;
  }
  copyOut(at: Pointer, count: number): Uint8Array<ArrayBuffer> {
    return this.bytes().slice(at, at + count) as Uint8Array<ArrayBuffer>;
  }
  free(at: Pointer): void {
    this.c.sqlite3_free(at);
  }
  readPointer(at: Pointer): Pointer {
    const bytes = this.bytes();
    return new DataView(bytes.buffer).getUint32(at, true);
  }
  /** A NUL-terminated C string. */
  readString(at: Pointer): string {
    if (at === 0) return '';
    const bytes = this.bytes();
    return decoder.decode(bytes.slice(at, bytes.indexOf(0, at)));
  }
}

const decoder = new TextDecoder();

/** A result code of SQLite that is neither OK, ROW nor DONE. `message` may hold SQL, so it is never logged or sent. */
export class SqliteFailure extends Error {
  override readonly name = 'SqliteFailure';
  /** Extended result code. */
  readonly resultCode: number;

  constructor(resultCode: number, message: string) {
    super(message);
    this.resultCode = resultCode;
  }
  /** Primary result code. */
  get primary(): number {
    return this.resultCode & 0xff;
  }
}

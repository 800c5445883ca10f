import type { Database, SqlValue } from './database.ts';
import { type Pointer, SQLITE } from './module.ts';

const encoder = new TextEncoder();
const INT32_MIN = -0x80000000;
const INT32_MAX = 0x7fffffff;

/** A compiled statement. Places count from 1, columns from 0. */
export class Statement {
  readonly database: Database;
  readonly pointer: Pointer;

  constructor(database: Database, pointer: Pointer) {
    this.database = database;
    this.pointer = pointer;
  }

  /** True on a row, false at the end. @throws SqliteFailure */
  step(): boolean {
    const rc = this.database.module.c.sqlite3_step(this.pointer);
    if (rc === SQLITE.row) return true;
    if (rc === SQLITE.done) return false;
    throw this.database.failure(rc);
  }
  /** Ready to run again, without the values bound before. Its result repeats an error that `step` has thrown. */
  reset(): void {
    this.database.module.c.sqlite3_reset(this.pointer);
    this.database.module.c.sqlite3_clear_bindings(this.pointer);
  }
  finalize(): void {
    this.database.module.c.sqlite3_finalize(this.pointer);
  }

  bindAll(values: readonly SqlValue[]): void {
    for (let i = 0; i < values.length; i++) this.bind(i + 1, values[i] as SqlValue);
  }
  /** Integers that are safe and not -0 are stored as integers, every other number as a float. */
  bind(place: number, value: SqlValue): void {
    const { c } = this.database.module;
    if (value === null) this.database.check(c.sqlite3_bind_null(this.pointer, place));
    else if (typeof value === 'bigint') this.database.check(c.sqlite3_bind_int64(this.pointer, place, value));
    else if (typeof value === 'number') this.#bindNumber(place, value);
    else if (typeof value === 'string') this.#bindBytes(c.sqlite3_bind_text, place, encoder.encode(value));
    else this.#bindBytes(c.sqlite3_bind_blob, place, value);
  }
  #bindNumber(place: number, value: number): void {
    const { c } = this.database.module;
    if (!Number.isSafeInteger(value) || Object.is(value, -0))
      this.database.check(c.sqlite3_bind_double(this.pointer, place, value));
    else if (value >= INT32_MIN && value <= INT32_MAX)
      this.database.check(c.sqlite3_bind_int(this.pointer, place, value));
    else this.database.check(c.sqlite3_bind_int64(this.pointer, place, BigInt(value)));
  }
  #bindBytes(
    bind: (statement: Pointer, place: number, at: Pointer, bytes: number, destructor: number) => number,
    place: number,
    bytes: Uint8Array,
  ): void {
    const { module } = this.database;
    const at = module.copyIn(bytes);
    try {
      this.database.check(bind(this.pointer, place, at, bytes.length, SQLITE.transient));
    } finally {
      module.free(at);
    }
  }

  type(column: number): number {
    return this.database.module.c.sqlite3_column_type(this.pointer, column);
  }
  int(column: number): number {
    return this.database.module.c.sqlite3_column_int(this.pointer, column);
  }
  int64(column: number): bigint {
    return this.database.module.c.sqlite3_column_int64(this.pointer, column);
  }
  double(column: number): number {
    return this.database.module.c.sqlite3_column_double(this.pointer, column);
  }
  text(column: number): string {
    return decoder.decode(this.blob(column));
  }
  /** A copy. */
  blob(column: number): Uint8Array<ArrayBuffer> {
    const { module } = this.database;
    const at = module.c.sqlite3_column_blob(this.pointer, column);
    return module.copyOut(at, module.c.sqlite3_column_bytes(this.pointer, column));
  }
}

const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

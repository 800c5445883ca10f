import { Hash64, MalformedBytesError, tableSeed } from '@sluice/domain';
import { assert } from '@sluice/errors';
import { OP_PUT, type OpKind, type TableSchema } from '@sluice/protocol';
import type { Database } from '../sqlite/database.ts';
import { SQLITE } from '../sqlite/module.ts';
import type { Statement } from '../sqlite/statement.ts';
import { acceptedKinds, bindCells, type PlacedPayload } from './bind-cells.ts';
import type { BucketState } from './bookkeeping.ts';
import { formatHolders, type Holders, holdersWith, holdersWithout, parseHolders } from './holders.ts';
import { rowidName, rowStatementsSql } from './table-sql.ts';

const hash = new Hash64();
/** Turns two unsigned 32-bit halves into a signed 64-bit integer and back. */
const halves = new Uint32Array(2);
const int64 = new BigInt64Array(halves.buffer);

/** One writer per table, compiled once and kept from checkpoint to checkpoint. */
export type TableWriters = Map<string, TableWriter>;

/** Whose totals an op moves: buckets by their local number. */
export interface Totals {
  bucketOf(number: number): BucketState;
  /** The bucket's totals changed in this checkpoint. */
  touch(bucket: BucketState): void;
}

/**
 * Applies ops to one table and keeps the totals of every bucket that holds a changed row (L9). A row that several
 * buckets hold is stored once and goes when the last lets go (L12).
 */
export class TableWriter {
  /** True once a row was added, changed or removed; being held by other buckets is not a change that queries see. */
  changed = false;
  readonly #db: Database;
  readonly #seed: number;
  readonly #accepts: Uint8Array;
  readonly #keyAccepts: Uint8Array;
  readonly #insert: Statement;
  readonly #select: Statement;
  readonly #update: Statement;
  readonly #updateHolders: Statement;
  readonly #remove: Statement;
  readonly #places: number;
  #totals: Totals | undefined;
  #wasThere = false;
  /** The row that #find found. */
  #rowid = 0n;
  #held: Holders = [];
  #lo = 0;
  #hi = 0;

  constructor(db: Database, table: TableSchema) {
    const rowid = rowidName(table);
    assert(rowid !== undefined, 'a table of a parsed schema has a rowid name');
    const sql = rowStatementsSql(table, rowid);
    this.#db = db;
    this.#seed = tableSeed(table.name);
    this.#accepts = acceptedKinds(table.columns);
    this.#keyAccepts = this.#accepts.subarray(0, table.keyColumns);
    this.#places = table.columns.length;
    this.#insert = db.prepare(sql.insert);
    this.#select = db.prepare(sql.select);
    this.#update = db.prepare(sql.update);
    this.#updateHolders = db.prepare(sql.updateHolders);
    this.#remove = db.prepare(sql.remove);
  }

  /** Begins another checkpoint. */
  begin(totals: Totals): void {
    this.#totals = totals;
    this.changed = false;
  }

  /** Applies the op whose body is payload[start, end). @throws MalformedBytesError, SqliteFailure */
  apply(kind: OpKind, payload: PlacedPayload, start: number, end: number, bucket: BucketState): void {
    if (kind === OP_PUT) this.#put(payload, start, end, bucket);
    else this.#release(payload, start, end, bucket);
  }

  #put(payload: PlacedPayload, start: number, end: number, bucket: BucketState): void {
    hash.update(payload.bytes, payload.view, start, end, this.#seed);
    const { lo, hi } = hash;
    // Ops come in runs: after a row that was there, looking first saves an insert in vain.
    if (this.#wasThere && this.#find(payload, start, end)) {
      this.#putOver(payload, { start, end, lo, hi }, bucket);
      return;
    }
    const { c } = this.#db.module;
    const insert = this.#insert.pointer;
    if (bindCells(c, insert, this.#accepts, payload, start, end) !== end) throw new MalformedBytesError('overlong row');
    c.sqlite3_bind_int(insert, this.#places + 1, bucket.number);
    c.sqlite3_bind_int64(insert, this.#places + 2, int64From(lo, hi));
    this.#run(this.#insert);
    this.#wasThere = this.#db.changes === 0;
    if (!this.#wasThere) {
      this.changed = true;
      this.#count(bucket, 1, lo, hi);
      return;
    }
    // Only the key can conflict; anything else that kept the row out would lose it silently.
    if (!this.#find(payload, start, end)) throw new MalformedBytesError('a row was refused by its table');
    this.#putOver(payload, { start, end, lo, hi }, bucket);
  }

  /** The row is there: its content may change for all its holders, and the bucket may be a new one. */
  #putOver(
    payload: PlacedPayload,
    row: { readonly start: number; readonly end: number; readonly lo: number; readonly hi: number },
    bucket: BucketState,
  ): void {
    const { lo, hi } = row;
    const holders = holdersWith(this.#held, bucket.number);
    const isNewHolder = holders !== this.#held;
    if (lo === this.#lo && hi === this.#hi) {
      if (!isNewHolder) return;
      this.#writeHolders(holders);
    } else {
      const { c } = this.#db.module;
      const update = this.#update;
      if (bindCells(c, update.pointer, this.#accepts, payload, row.start, row.end) !== row.end)
        throw new MalformedBytesError('overlong row');
      update.bind(this.#places + 1, formatHolders(holders));
      c.sqlite3_bind_int64(update.pointer, this.#places + 2, int64From(lo, hi));
      c.sqlite3_bind_int64(update.pointer, this.#places + 3, this.#rowid);
      this.#run(update);
      this.changed = true;
      for (const number of this.#held) this.#replaceHash(this.#bucketOf(number), lo, hi);
    }
    if (isNewHolder) this.#count(bucket, 1, lo, hi);
  }

  #release(payload: PlacedPayload, start: number, end: number, bucket: BucketState): void {
    if (!this.#find(payload, start, end, true) || !this.#held.includes(bucket.number)) return;
    this.#count(bucket, -1, this.#lo, this.#hi);
    const holders = holdersWithout(this.#held, bucket.number);
    if (holders.length > 0) {
      this.#writeHolders(holders);
      return;
    }
    this.#db.module.c.sqlite3_bind_int64(this.#remove.pointer, 1, this.#rowid);
    this.#run(this.#remove);
    this.changed = true;
  }

  /** Looks the row of this key up; what it finds stands in #rowid, #held, #lo and #hi. */
  #find(payload: PlacedPayload, start: number, end: number, isWholeBody = false): boolean {
    const select = this.#select;
    const after = bindCells(this.#db.module.c, select.pointer, this.#keyAccepts, payload, start, end);
    if (isWholeBody && after !== end) throw new MalformedBytesError('overlong key');
    try {
      if (!select.step()) return false;
      this.#rowid = select.int64(0);
      this.#held = select.type(1) === SQLITE.integer ? [select.int(1)] : parseHolders(select.blob(1));
      int64[0] = select.int64(2);
      this.#lo = halves[0] as number;
      this.#hi = halves[1] as number;
      return true;
    } finally {
      this.#db.module.c.sqlite3_reset(select.pointer);
    }
  }

  #writeHolders(holders: Holders): void {
    this.#updateHolders.bind(1, formatHolders(holders));
    this.#db.module.c.sqlite3_bind_int64(this.#updateHolders.pointer, 2, this.#rowid);
    this.#run(this.#updateHolders);
  }
  #run(statement: Statement): void {
    const { c } = this.#db.module;
    const rc = c.sqlite3_step(statement.pointer);
    if (rc !== SQLITE.done) {
      const failure = this.#db.failure(rc);
      c.sqlite3_reset(statement.pointer);
      throw failure;
    }
    c.sqlite3_reset(statement.pointer);
  }

  #bucketOf(number: number): BucketState {
    assert(this.#totals, 'a writer is used within a checkpoint');
    return this.#totals.bucketOf(number);
  }
  #count(bucket: BucketState, rows: 1 | -1, lo: number, hi: number): void {
    this.#totals?.touch(bucket);
    bucket.rows += rows;
    if (rows === 1) bucket.checksum.add(lo, hi);
    else bucket.checksum.subtract(lo, hi);
  }
  #replaceHash(bucket: BucketState, lo: number, hi: number): void {
    this.#totals?.touch(bucket);
    bucket.checksum.subtract(this.#lo, this.#hi);
    bucket.checksum.add(lo, hi);
  }

  /** Lets go of the payload's memory. */
  clearBindings(): void {
    const { c } = this.#db.module;
    for (const statement of [this.#insert, this.#select, this.#update]) c.sqlite3_clear_bindings(statement.pointer);
  }
  finalize(): void {
    for (const statement of [this.#insert, this.#select, this.#update, this.#updateHolders, this.#remove])
      statement.finalize();
  }
}

function int64From(lo: number, hi: number): bigint {
  halves[0] = lo;
  halves[1] = hi;
  return int64[0] as bigint;
}

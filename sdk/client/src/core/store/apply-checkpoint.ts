import { type BucketId, ByteReader, Checksum, MalformedBytesError, skipCell } from '@sluice/domain';
import { AppError, assert } from '@sluice/errors';
import { type BucketSum, forEachOp, type OpKind } from '@sluice/protocol';
import type { Database } from '../sqlite/database.ts';
import { SqliteFailure } from '../sqlite/module.ts';
import type { PlacedPayload } from './bind-cells.ts';
import {
  type BucketState,
  deleteBucket,
  insertBucket,
  updateBucket,
  writeCheckpoint,
  writeSchema,
} from './bookkeeping.ts';
import { type InflateRaw, inflatePayload } from './inflate.ts';
import type { PendingCheckpoint, PendingChunk } from './pending-checkpoint.ts';
import { releaseBuckets } from './release-buckets.ts';
import { type Schema, schemaChange } from './schema.ts';
import { createTableSql, quoteName } from './table-sql.ts';
import { TableWriter, type TableWriters, type Totals } from './table-writer.ts';

/** Called at each durable step, so that a test may end the run there; `ops` is how many were applied so far. */
export type StepObserver = (
  step: 'begin' | 'released' | 'schema' | 'chunk' | 'summed' | 'written',
  ops: number,
) => void;

export interface ApplyInput {
  readonly pending: PendingCheckpoint;
  readonly sums: readonly BucketSum[];
  readonly from: Schema;
  readonly to: Schema;
  /** Held buckets; changed in place, so the caller reads them again when this throws. */
  readonly buckets: Map<BucketId, BucketState>;
  /** Compiled statements, kept by the caller; emptied here when the schema changes. */
  readonly writers: TableWriters;
  readonly appliedAtMs: number;
  /** The platform's own, or undefined. */
  readonly inflate: InflateRaw | undefined;
  readonly onStep: StepObserver;
}

/** A bucket's totals differ; `buckets` are those to load again. */
export class ChecksumMismatch extends Error {
  override readonly name = 'ChecksumMismatch';
  readonly buckets: readonly BucketId[];
  constructor(buckets: readonly BucketId[]) {
    super('checksum mismatch');
    this.buckets = buckets;
  }
}

/**
 * Applies one whole checkpoint inside the caller's transaction and compares every bucket it touched with the server's
 * sums (L9, L12). Returns the tables whose rows changed. When it throws, the caller rolls back.
 * @throws AppError, ChecksumMismatch, MalformedBytesError, SqliteFailure
 */
export function applyCheckpoint(db: Database, input: ApplyInput): Set<string> {
  return new CheckpointRun(db, input).run();
}

class CheckpointRun implements Totals {
  readonly #db: Database;
  readonly #input: ApplyInput;
  readonly #byNumber = new Map<number, BucketState>();
  readonly #byNo = new Map<number, BucketState>();
  readonly #writers = new Map<string, TableWriter>();
  readonly #changed = new Set<string>();
  readonly #touched = new Set<BucketState>();
  /** Buckets that this checkpoint replaces, which are new to the database by now. */
  readonly #opened = new Set<BucketState>();
  #ops = 0;

  constructor(db: Database, input: ApplyInput) {
    this.#db = db;
    this.#input = input;
  }

  run(): Set<string> {
    const { pending, onStep } = this.#input;
    onStep('begin', 0);
    this.#letGo();
    onStep('released', 0);
    this.#migrate();
    this.#openBuckets();
    onStep('schema', 0);
    this.#applyChunks();
    this.#compareSums();
    onStep('summed', this.#ops);
    this.#write();
    if (pending.isStaged) this.#db.run('DELETE FROM _sluice_stage');
    onStep('written', this.#ops);
    for (const [table, writer] of this.#writers) if (writer.changed) this.#changed.add(table);
    return this.#changed;
  }

  /** Rows that only dropped and replaced buckets hold go away; a replaced bucket's come again below. */
  #letGo(): void {
    const { pending, from, to, buckets } = this.#input;
    const { head } = pending;
    const gone = head.reset
      ? [...buckets.values()]
      : [...head.drop, ...head.replace.map(({ bucket }) => bucket)].flatMap((bucket) => buckets.get(bucket) ?? []);
    if (gone.length === 0) return;
    const remade = new Set(from === to ? [] : schemaChange(from, to).drop);
    const byTable = groupBy(new Set(gone), (bucket) => from.streams.get(bucket.stream)?.table);
    for (const [table, released] of byTable) {
      if (table === undefined || remade.has(table)) continue;
      const schema = from.tables.get(table);
      assert(schema !== undefined, 'a stream feeds a table of its schema');
      const isEmptied = head.reset || this.#holdsAll(table, released);
      if (releaseBuckets(this.#db, schema, isEmptied ? 'all' : released.map(({ number }) => number)))
        this.#changed.add(table);
    }
    for (const bucket of gone) {
      deleteBucket(this.#db, bucket.number);
      buckets.delete(bucket.bucket);
    }
  }
  #holdsAll(table: string, released: readonly BucketState[]): boolean {
    const { from, buckets } = this.#input;
    let count = 0;
    for (const bucket of buckets.values()) if (from.streams.get(bucket.stream)?.table === table) count++;
    return count === released.length;
  }

  #migrate(): void {
    const { from, to, buckets } = this.#input;
    if (from === to) return;
    const { drop, create } = schemaChange(from, to);
    const remade = new Set(drop);
    for (const bucket of buckets.values()) {
      const table = to.streams.get(bucket.stream)?.table;
      const isKept = table !== undefined && table === from.streams.get(bucket.stream)?.table && !remade.has(table);
      if (!isKept) throw outOfOrder('a kept bucket has lost its table');
    }
    this.#forgetWriters();
    for (const table of drop) {
      this.#db.script(`DROP TABLE ${quoteName(table)}`);
      this.#changed.add(table);
    }
    for (const table of create) {
      this.#createTable(createTableSql(table));
      this.#changed.add(table.name);
    }
    writeSchema(this.#db, to);
  }
  #createTable(sql: string): void {
    try {
      this.#db.script(sql);
    } catch (error) {
      if (!(error instanceof SqliteFailure) || error.primary !== 1) throw error;
      throw new AppError('CLIENT_SCHEMA_INVALID', { details: { reason: error.message }, cause: error });
    }
  }

  #openBuckets(): void {
    const { pending, buckets, to } = this.#input;
    let last = 0;
    for (const bucket of buckets.values()) {
      last = Math.max(last, bucket.number);
      this.#byNumber.set(bucket.number, bucket);
    }
    for (const { no, bucket, stream } of pending.head.replace) {
      if (!to.streams.has(stream)) throw outOfOrder('a bucket of an unknown stream');
      const state: BucketState = { number: ++last, bucket, stream, checksum: new Checksum(), rows: 0 };
      buckets.set(bucket, state);
      this.#byNumber.set(state.number, state);
      this.#byNo.set(no, state);
      this.#touched.add(state);
      this.#opened.add(state);
    }
    for (const { no, bucket, stream } of pending.head.extend) {
      const state = buckets.get(bucket);
      if (!state || state.stream !== stream) throw outOfOrder('an extended bucket is not held');
      this.#byNo.set(no, state);
    }
  }

  /**
   * Extended buckets first: what they put may be older than the checkpoint until their own last op, while a replaced
   * bucket holds nothing but rows as of the checkpoint, so its rows must be laid on top.
   */
  #applyChunks(): void {
    const { pending } = this.#input;
    const replaced = new Set(pending.head.replace.map(({ no }) => no));
    const extending = pending.chunks.filter(({ no }) => !replaced.has(no));
    const stale = this.#mayDisagree() ? this.#newestChunkByKey(extending) : undefined;
    for (const chunk of extending) this.#applyChunk(chunk, stale?.get(chunk));
    for (const chunk of pending.chunks) if (replaced.has(chunk.no)) this.#applyChunk(chunk, undefined);
  }

  /** Whether two extended buckets feed one table and one of them has several chunks. */
  #mayDisagree(): boolean {
    const { head, chunks } = this.#input.pending;
    if (head.extend.length < 2 || chunks.length <= head.extend.length) return false;
    const tables = head.extend.map(({ stream }) => this.#input.to.streams.get(stream)?.table);
    return new Set(tables).size < tables.length;
  }

  /**
   * Chunks come bucket by bucket, not by position, so a row that two buckets hold could end as an older version that one
   * of them let go of since. Only the newest op of each row in each bucket counts, which makes their order irrelevant:
   * this finds, per chunk, the keys whose newest op stands in a later chunk of the same bucket (L12).
   */
  #newestChunkByKey(chunks: readonly PendingChunk[]): Map<PendingChunk, Set<string>> {
    const stale = new Map<PendingChunk, Set<string>>();
    for (const own of groupBy(chunks, ({ no }) => no).values()) {
      if (own.length < 2) continue;
      const newest = new Map<string, PendingChunk>();
      for (const chunk of own) {
        stale.set(chunk, new Set());
        const bytes = this.#inflate(chunk);
        const keyColumns = this.#keyColumnsOf(chunk.no);
        forEachOp(bytes, (_kind, start, end) => {
          const key = keyText(bytes, start, end, keyColumns);
          const before = newest.get(key);
          if (before) stale.get(before)?.add(key);
          newest.set(key, chunk);
        });
      }
    }
    return stale;
  }

  #applyChunk(chunk: PendingChunk, stale: ReadonlySet<string> | undefined): void {
    const bucket = this.#byNo.get(chunk.no);
    if (!bucket) throw outOfOrder('a chunk of a bucket that was not announced');
    const writer = this.#writerOf(bucket);
    const bytes = this.#inflate(chunk);
    const keyColumns = this.#keyColumnsOf(chunk.no);
    const base = this.#db.module.copyIn(bytes);
    const payload: PlacedPayload = { bytes, view: viewOf(bytes), base };
    try {
      const count = forEachOp(bytes, (kind: OpKind, start, end) => {
        if (stale?.size && stale.has(keyText(bytes, start, end, keyColumns))) return;
        writer.apply(kind, payload, start, end, bucket);
      });
      if (count !== chunk.ops) throw new MalformedBytesError('another number of ops than announced');
    } finally {
      writer.clearBindings();
      this.#db.module.free(base);
    }
    this.#ops += chunk.ops;
    this.#input.onStep('chunk', this.#ops);
  }
  #inflate(chunk: PendingChunk): Uint8Array {
    return inflatePayload(this.#input.pending.payloadOf(chunk), chunk, this.#input.inflate);
  }
  #keyColumnsOf(no: number): number {
    const stream = this.#byNo.get(no)?.stream;
    const table = stream === undefined ? undefined : this.#input.to.streams.get(stream)?.table;
    return (table === undefined ? undefined : this.#input.to.tables.get(table)?.keyColumns) ?? 0;
  }
  #writerOf(bucket: BucketState): TableWriter {
    const { to } = this.#input;
    const table = to.tables.get(to.streams.get(bucket.stream)?.table ?? '');
    assert(table !== undefined, 'an open bucket feeds a table');
    const known = this.#writers.get(table.name);
    if (known) return known;
    const { writers } = this.#input;
    const writer = writers.get(table.name) ?? new TableWriter(this.#db, table);
    writers.set(table.name, writer);
    writer.begin(this);
    this.#writers.set(table.name, writer);
    return writer;
  }
  #forgetWriters(): void {
    for (const writer of this.#input.writers.values()) writer.finalize();
    this.#input.writers.clear();
  }

  bucketOf(number: number): BucketState {
    const bucket = this.#byNumber.get(number);
    assert(bucket !== undefined, 'every holder of a row is a bucket');
    return bucket;
  }
  touch(bucket: BucketState): void {
    this.#touched.add(bucket);
  }

  /** Every announced bucket must be named by the sums, and no other bucket may have moved (L9). */
  #compareSums(): void {
    const wrong = new Set<BucketId>();
    const summed = new Set<BucketState>();
    for (const { no, checksum, rows } of this.#input.sums) {
      const state = this.#byNo.get(no);
      if (!state) throw outOfOrder('a sum of a bucket that was not announced');
      summed.add(state);
      if (state.rows !== rows || state.checksum.toBigint() !== checksum) wrong.add(state.bucket);
    }
    for (const state of this.#byNo.values()) if (!summed.has(state)) throw outOfOrder('a bucket without a sum');
    for (const state of this.#touched) if (!summed.has(state)) wrong.add(state.bucket);
    if (wrong.size > 0) throw new ChecksumMismatch([...wrong]);
  }

  #write(): void {
    for (const state of this.#touched) {
      if (this.#opened.has(state)) insertBucket(this.#db, state);
      else updateBucket(this.#db, state);
    }
    const { epoch, lsn, committedAtMs } = this.#input.pending.head;
    writeCheckpoint(this.#db, { epoch, lsn, committedAtMs }, this.#input.appliedAtMs);
  }
}

function groupBy<T, K>(items: Iterable<T>, keyOf: (item: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group) group.push(item);
    else groups.set(key, [item]);
  }
  return groups;
}
/** The key's bytes as text of one character each, which a Set compares fast. */
function keyText(bytes: Uint8Array, start: number, end: number, keyColumns: number): string {
  const reader = new ByteReader(bytes, start, end);
  for (let i = 0; i < keyColumns; i++) skipCell(reader);
  let text = '';
  for (let i = start; i < reader.at; i++) text += String.fromCharCode(bytes[i] as number);
  return text;
}
function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
function outOfOrder(reason: string): AppError {
  return new AppError('CLIENT_FRAME_OUT_OF_ORDER', { internal: reason, details: { reason } });
}

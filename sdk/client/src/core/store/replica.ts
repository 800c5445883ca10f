import type { BucketId, Checkpoint, Epoch, Lsn } from '@sluice/domain';
import { MalformedBytesError } from '@sluice/domain';
import { AppError } from '@sluice/errors';
import type { BucketSum, StreamSchema, TableSchema } from '@sluice/protocol';
import type { Database } from '../sqlite/database.ts';
import { SQLITE, SqliteFailure } from '../sqlite/module.ts';
import { applyCheckpoint, ChecksumMismatch, type StepObserver } from './apply-checkpoint.ts';
import { type BucketState, initialize, type ReplicaState, readBuckets, readState } from './bookkeeping.ts';
import type { InflateRaw } from './inflate.ts';
import { type CheckpointHead, PendingCheckpoint } from './pending-checkpoint.ts';
import { parseSchema, type Schema } from './schema.ts';
import type { TableWriters } from './table-writer.ts';
import { type VerifyReport, verifyRows } from './verify-rows.ts';

export interface ReplicaOptions {
  readonly project: string;
  /** Used only when the database is new. */
  readonly newClientId: string;
  readonly bufferedBytesMax: number | undefined;
  readonly inflate: InflateRaw | undefined;
  readonly onStep: StepObserver | undefined;
}
export interface Applied {
  readonly checkpoint: Checkpoint;
  readonly changedTables: ReadonlySet<string>;
  readonly schemaChanged: boolean;
}
/** What a new connection may ask to continue from. */
export interface ResumePoint {
  readonly epoch: Epoch;
  readonly lsn: Lsn;
  readonly buckets: readonly BucketId[];
}

/**
 * The rows of one user at one checkpoint. The only writer of its database: whatever happens, the database holds either
 * the checkpoint before or the one after, whole (L12).
 */
export class Replica {
  readonly #db: Database;
  readonly #options: ReplicaOptions;
  readonly #clientId: string;
  #schema: Schema;
  #announced: Schema | undefined;
  #checkpoint: Checkpoint | undefined;
  #appliedAtMs: number | undefined;
  #buckets: Map<BucketId, BucketState>;
  readonly #writers: TableWriters = new Map();

  /**
   * Takes the database over.
   * @throws AppError CLIENT_STORAGE_CORRUPT also for one of another format or project, which is of no use either.
   */
  constructor(db: Database, options: ReplicaOptions) {
    this.#db = db;
    this.#options = options;
    const state = this.#open();
    this.#clientId = state.clientId;
    this.#schema = state.schema;
    this.#checkpoint = state.checkpoint;
    this.#appliedAtMs = state.appliedAtMs;
    this.#buckets = this.#readBuckets();
  }

  #open(): ReplicaState {
    const { project, newClientId } = this.#options;
    try {
      initialize(this.#db, { clientId: newClientId, project });
      const state = readState(this.#db, project);
      if (state) return state;
    } catch (error) {
      throw codedError(error);
    }
    throw new AppError('CLIENT_STORAGE_CORRUPT', { internal: 'the database is of another format or project' });
  }
  #readBuckets(): Map<BucketId, BucketState> {
    return new Map(readBuckets(this.#db).map((bucket) => [bucket.bucket, bucket]));
  }

  get clientId(): string {
    return this.#clientId;
  }
  get checkpoint(): Checkpoint | undefined {
    return this.#checkpoint;
  }
  get appliedAtMs(): number | undefined {
    return this.#appliedAtMs;
  }
  get schema(): Schema {
    return this.#schema;
  }

  /** What to continue from, without the buckets that are to be loaded again; undefined to begin anew. */
  resumePoint(distrusted: ReadonlySet<BucketId>): ResumePoint | undefined {
    if (!this.#checkpoint) return undefined;
    const buckets = [...this.#buckets.keys()].filter((bucket) => !distrusted.has(bucket));
    return { epoch: this.#checkpoint.epoch, lsn: this.#checkpoint.lsn, buckets };
  }

  /** Keeps the schema for the checkpoints that follow; nothing changes before the first of them. @throws AppError */
  announce(tables: readonly TableSchema[], streams: readonly StreamSchema[]): void {
    this.#announced = parseSchema(tables, streams);
  }

  begin(head: CheckpointHead): PendingCheckpoint {
    return new PendingCheckpoint(this.#db, head, this.#options.bufferedBytesMax);
  }

  /**
   * Applies a checkpoint in one transaction; when it throws, the checkpoint before is still there, whole.
   * @throws AppError; ChecksumMismatch when the sums disagree.
   */
  apply(input: {
    readonly pending: PendingCheckpoint;
    readonly sums: readonly BucketSum[];
    readonly nowMs: number;
    readonly onProgress: (ops: number) => void;
  }): Applied {
    const to = this.#announced ?? this.#schema;
    const { pending, sums, nowMs } = input;
    const onStep: StepObserver = (step, ops) => {
      this.#options.onStep?.(step, ops);
      if (step === 'chunk') input.onProgress(ops);
    };
    const changedTables = this.#transaction(() =>
      applyCheckpoint(this.#db, {
        pending,
        sums,
        from: this.#schema,
        to,
        buckets: this.#buckets,
        writers: this.#writers,
        appliedAtMs: nowMs,
        inflate: this.#options.inflate,
        onStep,
      }),
    );
    const schemaChanged = to !== this.#schema;
    const { epoch, lsn, committedAtMs } = pending.head;
    this.#schema = to;
    this.#announced = undefined;
    this.#checkpoint = { epoch, lsn, committedAtMs };
    this.#appliedAtMs = nowMs;
    return { checkpoint: this.#checkpoint, changedTables, schemaChanged };
  }

  #transaction<T>(work: () => T): T {
    try {
      this.#db.run('BEGIN IMMEDIATE');
      const result = work();
      this.#db.run('COMMIT');
      return result;
    } catch (error) {
      this.#rollBack();
      throw codedError(error);
    }
  }
  #rollBack(): void {
    if (this.#db.inTransaction) this.#db.run('ROLLBACK');
    this.#buckets = this.#readBuckets();
  }

  /** Lets go of the database, which the owner then closes. */
  close(): void {
    for (const writer of this.#writers.values()) writer.finalize();
    this.#writers.clear();
  }

  /** Recomputes every bucket's totals from the rows themselves (L9). @throws AppError */
  verify(): VerifyReport {
    try {
      return verifyRows(this.#db, this.#schema, [...this.#buckets.values()]);
    } catch (error) {
      throw codedError(error);
    }
  }
}

/** Gives what SQLite and the parsers throw a stable code; what has one, and a mismatch, stays as it is. */
export function codedError(error: unknown): unknown {
  if (error instanceof MalformedBytesError)
    return new AppError('CLIENT_CHUNK_INVALID', { internal: error.message, cause: error });
  if (!(error instanceof SqliteFailure)) return error;
  const internal = `sqlite result ${error.resultCode}`;
  switch (error.primary) {
    case SQLITE.constraint:
      return new AppError('CLIENT_CHUNK_INVALID', { internal, cause: error });
    case SQLITE.full:
    case SQLITE.nomem:
      return new AppError('CLIENT_STORAGE_FULL', { internal, cause: error });
    case SQLITE.corrupt:
    case SQLITE.notADatabase:
      return new AppError('CLIENT_STORAGE_CORRUPT', { internal, cause: error });
    default:
      return new AppError('CLIENT_STORAGE_FAILED', { internal, cause: error });
  }
}

export { ChecksumMismatch };

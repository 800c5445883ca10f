import type { BucketId, Checkpoint, Epoch, Lsn } from '@sluice/domain';
import { AppError } from '@sluice/errors';
import type { BucketSum, StreamSchema, TableSchema } from '@sluice/protocol';
import type { WriteOperation } from '../../types.ts';
import type { ResultFrame } from '../query/frame.ts';
import type { Database } from '../sqlite/database.ts';
import { AnsweredWrites, type AskedWrite } from '../writes/answered-writes.ts';
import { runLocalWrite } from '../writes/local-writes.ts';
import { Overlay } from '../writes/overlay.ts';
import { PendingQueue, type PendingWrite, type RejectedWrite, type Settlement } from '../writes/pending-queue.ts';
import { applyCheckpoint, ChecksumMismatch, type StepObserver } from './apply-checkpoint.ts';
import {
  type BucketState,
  initialize,
  type ReplicaState,
  readBuckets,
  readState,
  writeClientId,
} from './bookkeeping.ts';
import { codedError } from './coded-error.ts';
import type { InflateRaw } from './inflate.ts';
import { type CheckpointHead, PendingCheckpoint } from './pending-checkpoint.ts';
import { parseSchema, type Schema } from './schema.ts';
import type { TableWriters } from './table-writer.ts';
import { type VerifyReport, verifyRows } from './verify-rows.ts';

export interface ReplicaOptions {
  readonly project: string;
  /** For a database that is new, or the copy of another one. */
  readonly newClientId: () => string;
  readonly bufferedBytesMax: number | undefined;
  readonly inflate: InflateRaw | undefined;
  readonly onStep: StepObserver | undefined;
}
export interface Applied {
  readonly checkpoint: Checkpoint;
  readonly changedTables: ReadonlySet<string>;
  readonly schemaChanged: boolean;
  readonly settlement: Settlement;
}
/** A local transaction that is in the tables, and durable. */
export interface Written {
  readonly changedTables: ReadonlySet<string>;
  readonly results: readonly ResultFrame[];
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
  #clientId: string;
  #schema: Schema;
  #announced: Schema | undefined;
  #checkpoint: Checkpoint | undefined;
  #appliedAtMs: number | undefined;
  #buckets: Map<BucketId, BucketState>;
  readonly #writers: TableWriters = new Map();
  readonly #overlay: Overlay;
  readonly #queue: PendingQueue;
  readonly #answered: AnsweredWrites;

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
    this.#overlay = new Overlay(db, state.schema);
    this.#queue = new PendingQueue(db);
    this.#answered = new AnsweredWrites(db);
  }

  #open(): ReplicaState {
    const { project, newClientId } = this.#options;
    try {
      initialize(this.#db, { clientId: newClientId(), project });
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
    const isNewEpoch = this.#checkpoint !== undefined && this.#checkpoint.epoch !== pending.head.epoch;
    const { changedTables, settlement } = this.#transaction(() => {
      const lifted = this.#overlay.lift();
      const changed = applyCheckpoint(this.#db, {
        pending,
        sums,
        from: this.#schema,
        to,
        buckets: this.#buckets,
        writers: this.#writers,
        appliedAtMs: nowMs,
        inflate: this.#options.inflate,
        onStep,
      });
      this.#overlay.setSchema(to);
      const settled = this.#queue.settle(to, { clientId: this.#clientId, nowMs, isNewEpoch });
      if (settled.isForeign) this.#becomeAnother();
      this.#queue.forEachMutation((mutation) => this.#overlay.lay(mutation));
      return { changedTables: new Set([...changed, ...lifted]), settlement: settled };
    });
    const schemaChanged = to !== this.#schema;
    const { epoch, lsn, committedAtMs } = pending.head;
    this.#schema = to;
    this.#announced = undefined;
    this.#checkpoint = { epoch, lsn, committedAtMs };
    this.#appliedAtMs = nowMs;
    return { checkpoint: this.#checkpoint, changedTables, schemaChanged, settlement };
  }

  /** Two clients of one id would take each other's writes for their own: this one gets another id. */
  #becomeAnother(): void {
    this.#clientId = this.#options.newClientId();
    writeClientId(this.#db, this.#clientId);
    this.#queue.startOver();
  }

  /**
   * Runs a local transaction: all of it is in the tables and in the queue of what is to be sent, or nothing. One that a tab asks for
   * again, having got no answer, is answered as it was and not done twice.
   * @throws AppError CLIENT_WRITE_*, CLIENT_QUERY_*, CLIENT_STORAGE_*
   */
  write(operations: readonly WriteOperation[], asked: AskedWrite | undefined = undefined): Written {
    const overlay = this.#overlay;
    return this.#transaction(() => {
      const answered = asked && this.#answered.find(asked);
      if (answered) return { changedTables: new Set(), results: answered };
      const { payload, changedTables, results } = runLocalWrite(this.#db, {
        schema: this.#schema,
        overlay,
        operations,
      });
      if (payload) this.#queue.add(payload);
      if (asked) this.#answered.add(asked, results);
      return { changedTables, results };
    });
  }
  /** Tabs whose answers are kept. */
  answeredTabs(): string[] {
    return this.#answered.tabs();
  }
  /** The tab asks for nothing again. */
  forgetTab(tab: string): void {
    this.#transaction(() => this.#answered.forget(tab));
  }
  get pendingCount(): number {
    return this.#queue.count;
  }
  /** The number of the last write that is settled. */
  get settledSeq(): number {
    return this.#queue.marks.settled;
  }
  pendingAfter(seq: number, limit: number): PendingWrite[] {
    return this.#queue.after(seq, limit);
  }
  get rejectedCount(): number {
    return this.#queue.rejectedCount;
  }
  rejected(): RejectedWrite[] {
    return this.#queue.rejected();
  }
  /** False when there is no such refusal. */
  dismiss(id: number): boolean {
    return this.#transaction(() => this.#queue.dismiss(id));
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
    this.#overlay.close();
  }

  /** Recomputes every bucket's totals from the rows themselves (L9). @throws AppError */
  verify(): VerifyReport {
    try {
      this.#db.run('BEGIN');
      // Sums are of what the server has.
      this.#overlay.lift();
      return verifyRows(this.#db, this.#schema, [...this.#buckets.values()]);
    } catch (error) {
      throw codedError(error);
    } finally {
      if (this.#db.inTransaction) this.#db.run('ROLLBACK');
    }
  }
}

export { ChecksumMismatch };

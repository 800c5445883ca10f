import type { ChunkWrite, MembershipWrite, SourceIssue, StreamRecord, TruncateWrite } from '@sluice/bucket-store';
import {
  type Lsn,
  MalformedBytesError,
  type Position,
  SEQ_BARRIER,
  SEQ_PER_ORDINAL,
  type StreamNo,
} from '@sluice/domain';
import { AppError } from '@sluice/errors';
import {
  forEachRecord,
  RECORD_TRANSACTION,
  readTransactionRecord,
  type SnapshotFrame,
  type StreamFrame,
} from '@sluice/op-queue';
import { fillUnchangedToast, MESSAGE, OLD, RowMessage, readMessage, readRowMessage } from '@sluice/pgoutput';
import { ROW_BYTES_MAX } from '@sluice/protocol';
import { ChunkWriter } from './chunk-writer.ts';
import { MembershipChanges } from './membership-changes.ts';
import { type RelationBinding, RelationBindings, type SchemaMismatch } from './relation-bindings.ts';
import { RowChanges } from './row-changes.ts';
import { StreamState } from './stream-state.ts';

/** What a frame does to the store, but for the positions that its commit names. */
export interface FrameResult {
  readonly chunks: readonly ChunkWrite[];
  readonly memberships: readonly MembershipWrite[];
  readonly truncates: readonly TruncateWrite[];
  readonly issues: readonly SourceIssue[];
  /** Streams whose table is no longer theirs; they got nothing of it. Unless checkpoints are held, refuse the frame. */
  readonly mismatches: readonly SchemaMismatch[];
  /** Row changes read, whether or not they concerned a stream. */
  readonly rows: number;
  /** Gives the chunks' buffers back; their bytes are then overwritten. */
  release(): void;
}

/**
 * Evaluates frames for a set of stream generations (L6): pure, but for buffers and caches that it reuses. Results stay
 * valid until they are released, so that the next frame can be evaluated while one is being committed.
 */
export interface FrameEvaluator {
  readonly streams: readonly StreamNo[];
  /**
   * Ops at or below `appliedBefore` are skipped, since a frame may begin earlier (L3).
   * @throws MalformedBytesError or AppError SOURCE_PROTOCOL for bytes that are not what a replicator writes
   * @throws AppError SOURCE_VALUE for a value that is not of its column's type
   * @throws AppError SOURCE_REPLICA_IDENTITY for a change without the whole old row
   */
  evaluate(frame: StreamFrame, appliedBefore: Position): FrameResult;
  /** All rows are puts at (point, 0), for the frame's streams only. Throws as `evaluate`. */
  evaluateSnapshot(frame: SnapshotFrame): FrameResult;
}

/**
 * Chunks of larger frames, and of copies, are stored plain: those are a backlog, where deflating would cost more than
 * everything else that is done to a row, and what most clients get of it is re-packed by the gateway anyway. Bytes.
 */
const DEFLATED_FRAME_BYTES_MAX = 256 * 1024;

/** @param streams generations of one epoch that are in use */
export function createFrameEvaluator(streams: readonly StreamRecord[]): FrameEvaluator {
  return new Evaluator(streams.map((record) => new StreamState(record)));
}

class Evaluator implements FrameEvaluator {
  readonly streams: readonly StreamNo[];
  private readonly states: readonly StreamState[];
  private readonly bindings = new RelationBindings();
  private readonly idleWriters: ChunkWriter[] = [];
  private readonly changes = new RowChanges();
  private readonly members = new MembershipChanges();
  private readonly row = new RowMessage();

  // The frame at hand.
  private frames = 0;
  private rows = 0;
  private readonly relations = new Map<number, RelationBinding>();
  private readonly mismatches = new Map<string, SchemaMismatch>();
  private readonly issues = new Map<string, SourceIssue>();
  private baseLsn = 0n as Lsn;
  private hasBase = false;

  // The transaction at hand. Ordinal 0: none has begun.
  private commitLsn = 0n as Lsn;
  private lsnDelta = 0;
  private ordinal = 0;
  /** Rows and TRUNCATEs up to this ordinal were applied before. */
  private appliedOrdinal = 0;

  constructor(states: readonly StreamState[]) {
    this.states = states;
    this.streams = states.map((state) => state.stream);
  }

  evaluate(frame: StreamFrame, appliedBefore: Position): FrameResult {
    this.begin();
    const { changes: src } = frame;
    const view = viewOf(src);
    forEachRecord(src, view, (kind, start, end) => {
      if (kind === MESSAGE.insert || kind === MESSAGE.update || kind === MESSAGE.delete)
        this.readRow(src, view, start, end);
      else if (kind === RECORD_TRANSACTION) this.beginTransaction(src, start, end, appliedBefore);
      else if (kind === MESSAGE.relation) this.readRelation(src, view, start, end);
      else if (kind === MESSAGE.truncate) this.readTruncate(src, view, start, end);
      else throw new MalformedBytesError('unknown record kind');
    });
    return this.finish({ deflates: src.length <= DEFLATED_FRAME_BYTES_MAX });
  }

  evaluateSnapshot(frame: SnapshotFrame): FrameResult {
    this.begin();
    this.baseLsn = frame.pointLsn;
    this.commitLsn = frame.pointLsn;
    this.lsnDelta = 0;
    const copied = new Set(frame.streams);
    for (const state of this.states) state.isActive = copied.has(state.stream);
    const { changes: src } = frame;
    const view = viewOf(src);
    forEachRecord(src, view, (kind, start, end) => {
      if (kind === MESSAGE.insert) this.readCopiedRow(src, view, start, end);
      else if (kind === MESSAGE.relation) this.readRelation(src, view, start, end);
      else throw new MalformedBytesError('a copy holds relations and rows alone');
    });
    return this.finish({ deflates: false });
  }

  private begin(): void {
    this.frames++;
    this.rows = 0;
    this.ordinal = 0;
    this.hasBase = false;
    this.relations.clear();
    this.mismatches.clear();
    this.issues.clear();
    this.members.reset();
    this.changes.arena.reset();
    for (const state of this.states) state.begin(this.frames);
  }

  private beginTransaction(src: Uint8Array, start: number, end: number, applied: Position): void {
    const { commitLsn, ordinal } = readTransactionRecord(src, start, end);
    if (this.ordinal > 0 && commitLsn < this.commitLsn) throw new MalformedBytesError('transactions out of order');
    if (!this.hasBase) this.baseLsn = commitLsn;
    this.hasBase = true;
    this.commitLsn = commitLsn;
    this.lsnDelta = Number(commitLsn - this.baseLsn);
    this.ordinal = ordinal;
    this.appliedOrdinal = appliedOrdinalOf(commitLsn, applied);
    for (const state of this.states) state.isActive = commitLsn > state.activatedAt;
  }

  private readRelation(src: Uint8Array, view: DataView, start: number, end: number): void {
    const { oid, binding } = this.bindings.read(src, view, start, end, this.states);
    this.relations.set(oid, binding);
  }

  private readRow(src: Uint8Array, view: DataView, start: number, end: number): void {
    if (this.ordinal === 0) throw new MalformedBytesError('a row outside a transaction');
    const ordinal = this.ordinal++;
    if (ordinal <= this.appliedOrdinal) return;
    this.rows++;
    const { row } = this;
    readRowMessage(src, view, start, end, row);
    const relation = this.relationOf(row.relationOid);
    if (row.kind !== MESSAGE.insert && row.oldKind !== OLD.full) throw notFull(relation);
    fillUnchangedToast(row);
    this.changeRows(relation, src, ordinal * SEQ_PER_ORDINAL);
    if (relation.members.length > 0) this.changeMembers(relation, src, ordinal * SEQ_PER_ORDINAL);
  }

  private readCopiedRow(src: Uint8Array, view: DataView, start: number, end: number): void {
    this.rows++;
    const { row } = this;
    readRowMessage(src, view, start, end, row);
    const relation = this.relationOf(row.relationOid);
    this.changeRows(relation, src, 0);
    if (relation.members.length > 0) this.changeMembers(relation, src, 0);
  }

  private changeRows(relation: RelationBinding, src: Uint8Array, seq: number): void {
    const { row, lsnDelta, changes } = this;
    for (const { state, bound } of relation.rows) {
      if (!state.isActive) continue;
      if (row.kind === MESSAGE.insert) changes.insert(state, bound, src, row.new, lsnDelta, seq);
      else if (row.kind === MESSAGE.delete) changes.delete(state, bound, src, row.old, lsnDelta, seq);
      else changes.update(state, bound, src, row.old, row.new, lsnDelta, seq);
      if (changes.tooLarge > 0) this.reportTooLarge(relation);
    }
  }

  private changeMembers(relation: RelationBinding, src: Uint8Array, seq: number): void {
    const { row } = this;
    for (const { state, set, bound } of relation.members) {
      if (!state.isActive) continue;
      const entries = {
        old: row.kind === MESSAGE.insert ? undefined : bound.entryOf(src, row.old),
        new: row.kind === MESSAGE.delete ? undefined : bound.entryOf(src, row.new),
      };
      this.members.change(state, set, entries, { lsn: this.commitLsn, seq });
    }
  }

  private readTruncate(src: Uint8Array, view: DataView, start: number, end: number): void {
    if (this.ordinal === 0) throw new MalformedBytesError('a TRUNCATE outside a transaction');
    const ordinal = this.ordinal++;
    if (ordinal <= this.appliedOrdinal) return;
    const message = readMessage(src, view, start, end);
    if (message.kind !== 'truncate') throw new MalformedBytesError('not a TRUNCATE');
    const position = { lsn: this.commitLsn, seq: ordinal * SEQ_PER_ORDINAL };
    for (const oid of message.relationOids) this.truncate(this.relationOf(oid), position);
  }

  private truncate(relation: RelationBinding, position: Position): void {
    for (const { state } of relation.rows) {
      if (!state.isActive) continue;
      state.clearOps();
      this.members.truncate(state, undefined, position);
    }
    for (const { state, set } of relation.members) if (state.isActive) this.members.truncate(state, set, position);
  }

  private relationOf(oid: number): RelationBinding {
    const relation = this.relations.get(oid);
    if (!relation) throw new MalformedBytesError('a row of a relation that the frame does not describe');
    if (relation.mismatches.length > 0) this.noteMismatches(relation);
    return relation;
  }

  private noteMismatches(relation: RelationBinding): void {
    for (const mismatch of relation.mismatches) {
      const state = this.states.find((candidate) => candidate.stream === mismatch.stream);
      if (state?.isActive) this.mismatches.set(`${mismatch.stream} ${mismatch.table}`, mismatch);
    }
  }

  private reportTooLarge(relation: RelationBinding): void {
    const code = 'ROW_TOO_LARGE';
    const { table } = relation;
    const count = (this.issues.get(table)?.count ?? 0) + this.changes.tooLarge;
    this.changes.tooLarge = 0;
    this.issues.set(table, { code, table, count, details: { bytesMax: ROW_BYTES_MAX } });
  }

  private finish(options: { readonly deflates: boolean }): FrameResult {
    const writer = this.idleWriters.pop() ?? new ChunkWriter();
    writer.begin(options);
    for (const state of this.states)
      for (const bucket of state.met)
        if (bucket.ops.length > 0) writer.add(state.stream, bucket, this.changes.arena, this.baseLsn);
    return {
      chunks: writer.finish(),
      memberships: this.members.writes,
      truncates: this.members.truncates,
      issues: [...this.issues.values()],
      mismatches: [...this.mismatches.values()],
      rows: this.rows,
      release: () => void this.idleWriters.push(writer),
    };
  }
}

/** The last ordinal of the transaction that was applied before. */
function appliedOrdinalOf(commitLsn: Lsn, applied: Position): number {
  if (commitLsn !== applied.lsn) return commitLsn < applied.lsn ? SEQ_BARRIER : 0;
  return Math.floor(applied.seq / SEQ_PER_ORDINAL);
}

function notFull(relation: RelationBinding): AppError {
  return new AppError('SOURCE_REPLICA_IDENTITY', {
    internal: 'a change came without its whole old row',
    details: { table: relation.table },
  });
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

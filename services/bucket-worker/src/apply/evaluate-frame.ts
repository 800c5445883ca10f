import type { ChunkWrite, MembershipWrite, SourceIssue, StreamRecord, TruncateWrite } from '@sluice/bucket-store';
import {
  type Lsn,
  MalformedBytesError,
  type Position,
  SEQ_BARRIER,
  SEQ_PER_ORDINAL,
  SEQ_SNAPSHOT,
  type StreamNo,
} from '@sluice/domain';
import { AppError, assert } from '@sluice/errors';
import {
  type Frame,
  forEachRecord,
  RECORD_ORDINAL,
  RECORD_TRANSACTION,
  readOrdinalRecord,
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
import { FrameStates, type KnownRows, type StateChanges } from './row-state/frame-states.ts';
import { type RowLookups, rowLookups } from './row-state/row-lookups.ts';
import { RowTracker, type TrackedChange } from './row-state/row-tracker.ts';
import type { ImageSource, TrackedTable } from './row-state/tracked-table.ts';
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
  /** What becomes of row states; undefined when the frame was evaluated without any. */
  readonly rowStates: { readonly revision: bigint; readonly changes: StateChanges } | undefined;
  /** The frame was evaluated up to here only, since no more states were at hand; undefined for all of it. */
  readonly end: Position | undefined;
  /** Gives the chunks' buffers back; their bytes are then overwritten. */
  release(): void;
}

/**
 * Evaluates frames for a set of stream generations (L6): pure, but for buffers and caches that it reuses. Results stay
 * valid until they are released, so that the next frame can be evaluated while one is being committed.
 */
export interface FrameEvaluator {
  readonly streams: readonly StreamNo[];
  /** The row states that the frame is evaluated with; undefined when it takes none. Throws as `evaluate`. */
  lookups(frame: Frame, appliedBefore: Position): RowLookups | undefined;
  /**
   * Ops at or below `appliedBefore` are skipped, since a frame may begin earlier (L3).
   * @throws MalformedBytesError or AppError SOURCE_PROTOCOL for bytes that are not what a replicator writes
   * @throws AppError SOURCE_VALUE for a value that is not of its column's type
   * @throws AppError SOURCE_REPLICA_IDENTITY for a change without the whole old row where no states are kept
   */
  evaluate(frame: StreamFrame, appliedBefore: Position, known?: KnownRows): FrameResult;
  /** All rows are puts at (point, 0), for the frame's streams only, but for those that streamed ops came before. Throws as `evaluate`. */
  evaluateSnapshot(frame: SnapshotFrame, known?: KnownRows): FrameResult;
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
  /** The row's images as they came. */
  private readonly oldRow: Rewritable<ImageSource> = { src: NO_BYTES, slots: this.row.old };
  private readonly newRow: Rewritable<ImageSource> = { src: NO_BYTES, slots: this.row.new };
  private readonly tracker = new RowTracker();
  private readonly keepsStates: boolean;

  // The frame at hand.
  private frames = 0;
  private rows = 0;
  private readonly relations = new Map<number, RelationBinding>();
  private readonly mismatches = new Map<string, SchemaMismatch>();
  private readonly issues = new Map<string, SourceIssue>();
  private baseLsn = 0n as Lsn;
  private hasBase = false;
  private rowStates: FrameStates | undefined;
  private known: KnownRows | undefined;

  // The transaction at hand. Ordinal 0: none has begun.
  private commitLsn = 0n as Lsn;
  private lsnDelta = 0;
  private ordinal = 0;
  /** Rows and TRUNCATEs up to this ordinal were applied before. */
  private appliedOrdinal = 0;

  constructor(states: readonly StreamState[]) {
    this.states = states;
    this.streams = states.map((state) => state.stream);
    this.keepsStates = states.some(({ plan }) => (plan.rowStates?.length ?? 0) > 0);
  }

  lookups({ kind, changes }: Frame, appliedBefore: Position): RowLookups | undefined {
    if (!this.keepsStates) return undefined;
    // The rows of a part are at no position of the stream.
    const applied = kind === 'stream' ? appliedBefore : POSITION_NONE;
    return rowLookups(
      kind,
      { changes, applied },
      (src, view, start, end) => this.readTracked(src, view, start, end),
      this.row,
    );
  }

  private readTracked(src: Uint8Array, view: DataView, start: number, end: number) {
    const { oid, binding } = this.bindings.read(src, view, start, end, this.states);
    return { oid, tracked: binding.tracked };
  }

  evaluate(frame: StreamFrame, appliedBefore: Position, known?: KnownRows): FrameResult {
    this.begin(frame, known);
    const { changes: src } = frame;
    const view = viewOf(src);
    forEachRecord(src, view, (kind, start, end) => {
      if (kind === MESSAGE.insert || kind === MESSAGE.update || kind === MESSAGE.delete)
        this.readRow(src, view, start, end);
      else if (kind === RECORD_ORDINAL) this.skipTo(readOrdinalRecord(view, start, end));
      else if (kind === RECORD_TRANSACTION) this.beginTransaction(src, start, end, appliedBefore);
      else if (kind === MESSAGE.relation) this.readRelation(src, view, start, end);
      else if (kind === MESSAGE.truncate) this.readTruncate(src, view, start, end);
      else throw new MalformedBytesError('unknown record kind');
    });
    return this.finish({ deflates: src.length <= DEFLATED_FRAME_BYTES_MAX });
  }

  evaluateSnapshot(frame: SnapshotFrame, known?: KnownRows): FrameResult {
    this.begin(frame, known);
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

  private begin({ changes }: Frame, known: KnownRows | undefined): void {
    this.frames++;
    this.known = known;
    this.rowStates = known && new FrameStates(known);
    this.oldRow.src = changes;
    this.newRow.src = changes;
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

  /** Rows in between are other shards'. */
  private skipTo(ordinal: number): void {
    if (this.ordinal === 0 || ordinal < this.ordinal) throw new MalformedBytesError('ordinals go up in a transaction');
    this.ordinal = ordinal;
  }

  private readRelation(src: Uint8Array, view: DataView, start: number, end: number): void {
    const { oid, binding } = this.bindings.read(src, view, start, end, this.states);
    this.relations.set(oid, binding);
  }

  private readRow(src: Uint8Array, view: DataView, start: number, end: number): void {
    if (this.ordinal === 0) throw new MalformedBytesError('a row outside a transaction');
    const ordinal = this.ordinal++;
    if (ordinal <= this.appliedOrdinal || this.isBeyond(ordinal)) return;
    this.rows++;
    const { row } = this;
    readRowMessage(src, view, start, end, row);
    const relation = this.relationOf(row.relationOid);
    const seq = ordinal * SEQ_PER_ORDINAL;
    if (relation.tracked.length > 0) this.changeTracked(relation, src, seq);
    if (relation.rows.length === 0 && relation.members.length === 0) return;
    if (row.kind !== MESSAGE.insert && row.oldKind !== OLD.full) throw notFull(relation);
    fillUnchangedToast(row);
    this.changeRows(relation, seq);
    if (relation.members.length > 0) this.changeMembers(relation, src, seq);
  }

  /** Whether states were read only for changes before this one. */
  private isBeyond(ordinal: number): boolean {
    const end = this.known?.end;
    if (!end || this.commitLsn < end.lsn) return false;
    return this.commitLsn > end.lsn || ordinal * SEQ_PER_ORDINAL > end.seq;
  }

  private changeTracked(relation: RelationBinding, src: Uint8Array, seq: number): void {
    for (const table of relation.tracked)
      if (table.state.isActive && !this.isInCopy(table.state)) {
        const at = { lsn: this.commitLsn, seq };
        this.applyTracked(relation, table, this.tracker.change(table, this.statesAtHand(), this.row, src, at));
      }
  }

  /** What is below the point is in the copy, and void here. */
  private isInCopy({ backfillPoint }: StreamState): boolean {
    return backfillPoint !== undefined && this.commitLsn < backfillPoint;
  }

  private applyTracked(relation: RelationBinding, table: TrackedTable, change: TrackedChange): void {
    if (this.tracker.incomplete > 0) this.reportIncomplete(relation);
    const { bound, state, set } = table;
    const old = change.old && table.tuple('old', change.old);
    const fresh = change.fresh && (change.isAsSent ? this.newRow : table.tuple('fresh', change.fresh));
    if ('entryOf' in bound) {
      const entries = {
        old: old && bound.entryOf(old.src, old.slots),
        new: fresh && bound.entryOf(fresh.src, fresh.slots),
      };
      this.members.change(state, set as number, entries, change.at);
      return;
    }
    const { changes } = this;
    const lsnDelta = Number(change.at.lsn - this.baseLsn);
    if (old && fresh) changes.update(state, bound, old, fresh, lsnDelta, change.at.seq);
    else if (fresh) changes.insert(state, bound, fresh, lsnDelta, change.at.seq);
    else if (old) changes.delete(state, bound, old, lsnDelta, change.at.seq);
    if (changes.tooLarge > 0) this.reportTooLarge(relation);
  }

  private statesAtHand(): FrameStates {
    assert(this.rowStates, 'a frame of a table that keeps states is evaluated with them');
    return this.rowStates;
  }

  private readCopiedRow(src: Uint8Array, view: DataView, start: number, end: number): void {
    this.rows++;
    const { row } = this;
    readRowMessage(src, view, start, end, row);
    const relation = this.relationOf(row.relationOid);
    for (const table of relation.tracked)
      if (table.state.isActive)
        for (const change of this.tracker.copied(table, this.statesAtHand(), row, src, this.commitLsn))
          this.applyTracked(relation, table, change);
    this.changeRows(relation, SEQ_SNAPSHOT);
    if (relation.members.length > 0) this.changeMembers(relation, src, SEQ_SNAPSHOT);
  }

  private changeRows(relation: RelationBinding, seq: number): void {
    const { row, oldRow, newRow, lsnDelta, changes } = this;
    for (const { state, bound } of relation.rows) {
      if (!state.isActive) continue;
      if (row.kind === MESSAGE.insert) changes.insert(state, bound, newRow, lsnDelta, seq);
      else if (row.kind === MESSAGE.delete) changes.delete(state, bound, oldRow, lsnDelta, seq);
      else changes.update(state, bound, oldRow, newRow, lsnDelta, seq);
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
    if (ordinal <= this.appliedOrdinal || this.isBeyond(ordinal)) return;
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
    for (const table of relation.tracked) {
      const { state, set } = table;
      if (!state.isActive) continue;
      if (set === undefined) state.clearOps();
      this.members.truncate(state, set, position);
      if (!this.isInCopy(state)) this.statesAtHand().truncate(table);
    }
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

  /** A value that the row left unchanged is nowhere: it was in none of the rows that were small enough to be read. */
  private reportIncomplete({ table }: RelationBinding): void {
    const code = 'SOURCE_ROW_OVERSIZED';
    const key = `${code} ${table}`;
    const count = (this.issues.get(key)?.count ?? 0) + this.tracker.incomplete;
    this.tracker.incomplete = 0;
    this.issues.set(key, { code, table, count, details: {} });
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
      rowStates: this.known && this.rowStates && { revision: this.known.revision, changes: this.rowStates.changes },
      end: this.known?.end,
      release: () => void this.idleWriters.push(writer),
    };
  }
}

const NO_BYTES = new Uint8Array(0);
const POSITION_NONE: Position = { lsn: 0n as Lsn, seq: -SEQ_PER_ORDINAL };
type Rewritable<T> = { -readonly [Key in keyof T]: T[Key] };

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

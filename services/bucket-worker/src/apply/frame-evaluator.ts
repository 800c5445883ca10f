import type {
  BucketRef,
  ChunkWrite,
  MembershipWrite,
  SourceIssue,
  StreamRecord,
  TruncateWrite,
} from '@sluice/bucket-store';
import { type Lsn, type Position, SEQ_PER_ORDINAL, SEQ_SNAPSHOT, type StreamNo } from '@sluice/domain';
import { AppError, assert } from '@sluice/errors';
import { type Frame, forEachRecord, RECORD_TRANSACTION, readTransactionRecord } from '@sluice/op-queue';
import { fillUnchangedToast, isRowMessage, MESSAGE, RowMessage, readMessage, readRowMessage } from '@sluice/pgoutput';
import {
  type BoundMembership,
  type BoundStream,
  bindMembership,
  bindRow,
  type RelationMismatch,
  type StreamPlan,
} from '@sluice/sync-rules';
import type { ChunkPlace } from './bucket-ops.ts';
import { compressed } from './compress.ts';
import { FrameWriter } from './frame-writer.ts';
import { MembershipEvaluator } from './membership-evaluator.ts';
import { StreamEvaluator } from './stream-evaluator.ts';

/** Bound of the relation versions that are kept bound; forgetting costs binding again. */
const REMEMBERED_RELATIONS_MAX = 1000;

/** What a frame's ops come to. The byte arrays of the chunks are valid until the next evaluation. */
export interface EvaluatedFrame {
  readonly streams: readonly StreamNo[];
  readonly chunks: readonly ChunkWrite[];
  readonly memberships: readonly MembershipWrite[];
  readonly truncates: readonly TruncateWrite[];
  readonly issues: readonly SourceIssue[];
  readonly buckets: readonly BucketRef[];
  /** Streams that could not read a row's relation: their table changed under them. */
  readonly mismatched: readonly StreamNo[];
}

interface Binding {
  readonly table: string;
  readonly rows: readonly { readonly evaluator: StreamEvaluator; readonly bound: BoundStream | undefined }[];
  readonly memberships: readonly {
    readonly evaluator: MembershipEvaluator;
    readonly bound: BoundMembership | undefined;
  }[];
}

/**
 * Evaluates frames against the stream generations of one epoch. Pure but for its buffers: the same frame gives the same
 * ops (L6). Made anew when the set of streams changes.
 */
export class FrameEvaluator {
  readonly #streams: readonly StreamRecord[];
  readonly #rows: readonly StreamEvaluator[];
  readonly #memberships: readonly MembershipEvaluator[];
  readonly #writer = new FrameWriter();
  readonly #row = new RowMessage();
  readonly #bindings = new Map<string, Binding>();
  readonly #mismatched = new Set<StreamNo>();
  readonly #place = { lsnDelta: 0, seq: 0 };

  constructor(streams: readonly StreamRecord[]) {
    this.#streams = streams;
    // Plans are written by the rules compiler alone and stored as it made them.
    this.#rows = streams.map((record) => new StreamEvaluator(record, record.plan as StreamPlan));
    this.#memberships = streams.flatMap((record) =>
      (record.plan as StreamPlan).memberships.map((_, membership) => new MembershipEvaluator(record, membership)),
    );
  }

  /** @param applied ops at or below this position were applied before and are skipped (L3); unused for a copy's part */
  evaluate(frame: Frame, applied: Position): EvaluatedFrame {
    this.#reset();
    const view = new DataView(frame.changes.buffer, frame.changes.byteOffset, frame.changes.byteLength);
    return frame.kind === 'snapshot'
      ? this.#evaluateCopy(frame, view)
      : this.#evaluateStream(frame.changes, view, applied);
  }

  #reset(): void {
    this.#writer.reset();
    this.#mismatched.clear();
    for (const row of this.#rows) {
      row.reset();
      row.rowsTooLarge = 0;
    }
    for (const membership of this.#memberships) membership.reset();
  }

  #evaluateStream(changes: Uint8Array, view: DataView, applied: Position): EvaluatedFrame {
    const bindings = new Map<number, Binding>();
    const truncates: TruncateWrite[] = [];
    let baseLsn: Lsn | undefined;
    let lsn = 0n as Lsn;
    let ordinal = 0;
    let isSkipping = false;
    forEachRecord(changes, view, (kind, start, end) => {
      if (isRowMessage(kind) || kind === MESSAGE.truncate) {
        assert(baseLsn !== undefined, 'a row before its transaction');
        const seq = ordinal++ * SEQ_PER_ORDINAL;
        if (isSkipping || (lsn === applied.lsn && seq <= applied.seq)) return;
        this.#place.seq = seq;
        if (kind === MESSAGE.truncate) this.#truncate(changes, view, start, end, bindings, { lsn, seq }, truncates);
        else this.#changeRow(changes, view, start, end, bindings, lsn);
      } else if (kind === RECORD_TRANSACTION) {
        const transaction = readTransactionRecord(changes, start, end);
        lsn = transaction.commitLsn;
        ordinal = transaction.ordinal;
        isSkipping = lsn < applied.lsn;
        baseLsn ??= lsn;
        this.#place.lsnDelta = Number(lsn - baseLsn);
      } else if (kind === MESSAGE.relation) this.#bind(changes, view, start, end, bindings);
      else assert(false, `a frame holds a record of kind ${kind}`);
    });
    return this.#finish(
      baseLsn ?? lsn,
      truncates,
      this.#streams.map(({ stream }) => stream),
    );
  }

  #evaluateCopy(frame: Extract<Frame, { kind: 'snapshot' }>, view: DataView): EvaluatedFrame {
    const { changes, pointLsn } = frame;
    const bindings = new Map<number, Binding>();
    const wanted = new Set(frame.streams);
    this.#place.lsnDelta = 0;
    this.#place.seq = SEQ_SNAPSHOT;
    forEachRecord(changes, view, (kind, start, end) => {
      if (kind === MESSAGE.relation) {
        this.#bind(changes, view, start, end, bindings);
        return;
      }
      readRowMessage(changes, view, start, end, this.#row);
      const binding = bindings.get(this.#row.relationOid);
      assert(binding && this.#row.kind === MESSAGE.insert, 'a copy holds rows of its table alone');
      for (const { evaluator, bound } of binding.rows)
        if (wanted.has(evaluator.record.stream)) {
          if (bound) evaluator.change(bound, changes, undefined, this.#row.new, this.#place, this.#writer.bodies);
          else this.#mismatched.add(evaluator.record.stream);
        }
      for (const { evaluator, bound } of binding.memberships)
        if (wanted.has(evaluator.record.stream)) {
          if (bound) evaluator.change(bound, changes, undefined, this.#row.new, pointLsn, SEQ_SNAPSHOT);
          else this.#mismatched.add(evaluator.record.stream);
        }
    });
    return this.#finish(pointLsn, [], frame.streams);
  }

  #bind(changes: Uint8Array, view: DataView, start: number, end: number, into: Map<number, Binding>): void {
    const oid = view.getUint32(start + 1);
    // The message's own bytes tell versions of a relation apart; frames repeat it, binding happens once.
    const version = String.fromCharCode(...changes.subarray(start, end));
    let binding = this.#bindings.get(version);
    if (!binding) {
      const message = readMessage(changes, view, start, end);
      assert(message.kind === 'relation', 'a relation record is a Relation message');
      binding = this.#bindRelation(message);
      if (this.#bindings.size >= REMEMBERED_RELATIONS_MAX) this.#bindings.clear();
      this.#bindings.set(version, binding);
    }
    into.set(oid, binding);
  }

  #bindRelation(relation: {
    schema: string;
    name: string;
    columns: readonly { name: string; typeOid: number; typmod: number }[];
  }): Binding {
    const isOf = (table: { schema: string; name: string }): boolean =>
      table.schema === relation.schema && table.name === relation.name;
    return {
      table: `${relation.schema}.${relation.name}`,
      rows: this.#rows
        .filter(({ plan }) => isOf(plan.sourceTable))
        .map((evaluator) => ({ evaluator, bound: boundOrNone(bindRow(evaluator.plan, relation)) })),
      memberships: this.#memberships
        .filter(({ record, membership }) => {
          const member = (record.plan as StreamPlan).memberships[membership];
          return member !== undefined && isOf(member.table);
        })
        .map((evaluator) => ({
          evaluator,
          bound: boundOrNone(bindMembership(evaluator.record.plan as StreamPlan, evaluator.membership, relation)),
        })),
    };
  }

  #changeRow(
    changes: Uint8Array,
    view: DataView,
    start: number,
    end: number,
    bindings: Map<number, Binding>,
    lsn: Lsn,
  ): void {
    const row = this.#row;
    readRowMessage(changes, view, start, end, row);
    const binding = bindings.get(row.relationOid);
    assert(binding, 'a row whose relation the frame does not describe');
    if (binding.rows.length === 0 && binding.memberships.length === 0) return;
    if (row.kind !== MESSAGE.insert && row.oldKind === 0) throw identityLost(binding.table);
    if (!fillUnchangedToast(row)) throw identityLost(binding.table);
    const old = row.kind === MESSAGE.insert ? undefined : row.old;
    const fresh = row.kind === MESSAGE.delete ? undefined : row.new;
    for (const { evaluator, bound } of binding.rows) {
      if (!isActive(evaluator.record, lsn)) continue;
      if (bound) evaluator.change(bound, changes, old, fresh, this.#place, this.#writer.bodies);
      else this.#mismatched.add(evaluator.record.stream);
    }
    for (const { evaluator, bound } of binding.memberships) {
      if (!isActive(evaluator.record, lsn)) continue;
      if (bound) evaluator.change(bound, changes, old, fresh, lsn, this.#place.seq);
      else this.#mismatched.add(evaluator.record.stream);
    }
  }

  /** What the frame did to the table before is void, so it is not even written; what stands in the store is voided by position. */
  #truncate(
    changes: Uint8Array,
    view: DataView,
    start: number,
    end: number,
    bindings: Map<number, Binding>,
    position: Position,
    into: TruncateWrite[],
  ): void {
    const message = readMessage(changes, view, start, end);
    assert(message.kind === 'truncate', 'a truncate record is a Truncate message');
    for (const oid of message.relationOids) {
      const binding = bindings.get(oid);
      if (!binding) continue; // Not a table of ours: CASCADE names tables beyond the publication's.
      for (const { evaluator } of binding.rows)
        if (isActive(evaluator.record, position.lsn)) {
          evaluator.reset();
          into.push({ stream: evaluator.record.stream, membership: undefined, position });
        }
      for (const { evaluator } of binding.memberships)
        if (isActive(evaluator.record, position.lsn)) {
          evaluator.reset();
          into.push({ stream: evaluator.record.stream, membership: evaluator.membership, position });
        }
    }
  }

  #finish(baseLsn: Lsn, truncates: readonly TruncateWrite[], streams: readonly StreamNo[]): EvaluatedFrame {
    const places: ChunkPlace[] = [];
    const buckets: BucketRef[] = [];
    const memberships: MembershipWrite[] = [];
    const issues: SourceIssue[] = [];
    for (const row of this.#rows) {
      row.finish(this.#writer, baseLsn, places, buckets);
      const { schema, name } = row.plan.sourceTable;
      if (row.rowsTooLarge > 0)
        issues.push({
          code: 'ROW_TOO_LARGE',
          table: `${schema}.${name}`,
          count: row.rowsTooLarge,
          details: { stream: row.plan.name },
        });
    }
    for (const membership of this.#memberships) membership.finish(memberships);
    // Views only now: the buffer moves while it grows.
    const { bytes } = this.#writer.chunks;
    const chunks = places.map((place): ChunkWrite => {
      const { directoryStart, payloadStart, payloadEnd, ...rest } = place;
      return {
        ...rest,
        ...compressed(bytes.subarray(payloadStart, payloadEnd)),
        payloadBytes: payloadEnd - payloadStart,
        directory: bytes.subarray(directoryStart, payloadStart),
      };
    });
    return { streams, chunks, memberships, truncates, issues, buckets, mismatched: [...this.#mismatched] };
  }
}

/** L11: a generation is evaluated for commits after its activation and not after it was dropped. */
function isActive(record: StreamRecord, lsn: Lsn): boolean {
  return record.activatedAt < lsn && (record.droppedAfter === undefined || lsn <= record.droppedAfter);
}

function boundOrNone<T extends { readonly kind: 'bound' }>(bound: T | RelationMismatch): T | undefined {
  return bound.kind === 'bound' ? bound : undefined;
}

function identityLost(table: string): AppError {
  return new AppError('SOURCE_REPLICA_IDENTITY', { details: { tables: [table] } });
}

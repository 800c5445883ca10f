import { ByteWriter, barrierAt, type Lsn, lsnFromBigint, type Position, SEQ_PER_ORDINAL } from '@sluice/domain';
import { AppError, unreachable } from '@sluice/errors';
import { appendRecord, appendTransactionRecord } from '@sluice/op-queue';
import {
  isRowMessage,
  MESSAGE,
  OLD,
  type RelationMessage,
  readMessage,
  type TruncateMessage,
  unixMsFromPgUs,
} from '@sluice/pgoutput';
import { beginTail } from './frame-tail.ts';
import { type Relation, RelationBook } from './relation-book.ts';
import { type LimitedRow, limitRow, limitRowByPrefix } from './row-limit.ts';

/** A frame's worth of changes, from `prev` to `end` (L3, L4). */
export interface AssembledFrame {
  readonly prev: Position;
  readonly end: Position;
  /** End LSN of the commit at `end`; 0 inside a transaction. */
  readonly endLsn: Lsn;
  readonly committedAtMs: number;
  readonly changes: Uint8Array;
}

export interface AssemblerEvents {
  frame(frame: AssembledFrame): void;
  /**
   * A table is described for the first time, or differently from before. Returns whether a stream reads it; may throw to
   * end the stream before any row of that form is used.
   */
  relation(message: RelationMessage, previous: RelationMessage | undefined): boolean;
  /** The server described a table again without a difference: something about it that is not sent may have changed. */
  relationRepeated(message: RelationMessage): void;
  /** A row of the table is too large to be synced and was left out. */
  rowLeftOut(message: RelationMessage): void;
  /** A message of ours was committed; the frame that ends with that commit was handed over before. */
  activation(content: string, commitLsn: Lsn): void;
}

export interface AssemblerOptions {
  readonly events: AssemblerEvents;
  readonly messagePrefix: string;
  /** The last barrier that is applied: commits up to it are repeated and left out. */
  readonly applied: Lsn;
  /** L2: that barrier's commit must come again before any later one, or history changed. */
  readonly mustRepeat: boolean;
  /** Rows whose columns take more bytes than this are in no bucket. */
  readonly rowBytesMax: number;
  /** A frame is closed at the first message beyond it, inside a transaction too. */
  readonly frameBytesMax: number;
}

/** Prefix of an activation's content; what follows names it. */
export const ACTIVATION = 'activate:';
const PG_EPOCH_UNIX_US = 946_684_800_000_000n;
const initialBytes = 256 * 1024;
/** A frame is closed behind its last row, so that the next full one may be a little longer. */
const slackFactor = 1.0625;
const ZERO = lsnFromBigint(0n);
/** A source that keeps more open than this per commit is not sending what we ask for. */
const messagesPerCommitMax = 64;

/**
 * Assembles pgoutput messages into frames, in the order of commits. Rows are copied as they came, without looking into
 * their columns; a frame describes its tables itself. Memory is one frame, however large a transaction.
 */
export class Assembler {
  readonly relations = new RelationBook();
  private readonly options: AssemblerOptions;
  private readonly events: AssemblerEvents;

  // The frame that is being written.
  private out = new ByteWriter(initialBytes);
  private frameNo = 0;
  private prev: Position;
  /** The last commit in the frame, and where its records end. */
  private completed:
    | { readonly lsn: Lsn; readonly endLsn: Lsn; readonly atMs: number; readonly bytes: number }
    | undefined;

  // The transaction that is being read.
  private commitLsn = ZERO;
  private commitTimeUs = 0n;
  private ordinal = 0;
  private isInside = false;
  private isRepeat = false;
  /** The frame says which transaction and ordinal the next row has. */
  private isPlaced = false;
  private activations: string[] = [];

  private mustRepeat: boolean;
  private everyCommitUntil: Lsn | 'unknown' | undefined;

  constructor(options: AssemblerOptions) {
    this.options = options;
    this.events = options.events;
    this.prev = barrierAt(options.applied);
    this.mustRepeat = options.mustRepeat;
  }

  /** Bytes in the frame that is being written. */
  get bytes(): number {
    return this.out.length;
  }
  /** The frame holds whole transactions. */
  get hasCompleted(): boolean {
    return this.completed !== undefined;
  }
  /** The frame ends with a whole transaction. */
  get isComplete(): boolean {
    return this.completed !== undefined && !this.isInside;
  }
  /** Commit time of the transaction that is being read, microseconds since 2000. */
  get transactionTimeUs(): bigint {
    return this.commitTimeUs;
  }

  /**
   * While a back-fill point is not known, each commit is a barrier of its own; and, once it is known, until the stream has
   * reached it, so that no frame holds commits of both sides.
   */
  barrierAtEveryCommit(until: Lsn | 'unknown' | undefined): void {
    this.flushCompleted();
    this.everyCommitUntil = until;
  }

  /** Takes the message in `source[start, end)`; its bytes are copied. @throws AppError */
  push(source: Uint8Array, view: DataView, start: number, end: number): void {
    const kind = source[start];
    if (kind === MESSAGE.insert || kind === MESSAGE.update || kind === MESSAGE.delete) {
      if (end - start < 5) throw new AppError('SOURCE_PROTOCOL', { internal: 'row message ends early' });
      const relation = this.relationOfRow(view.getUint32(start + 1));
      if (!this.count(relation)) return;
      if (kind !== MESSAGE.insert) refuseHalfOld(relation, source[start + 5]);
      if (end - start > this.options.rowBytesMax) this.appendLimited(relation, source, view, start, end);
      else this.append(relation, source, start, end);
      return;
    }
    if (kind === MESSAGE.relation) this.describe(source, view, start, end);
    else this.pushRare(source, view, start, end);
  }

  /**
   * Takes a message of which only the first bytes were kept, since it is larger than any two rows may be together.
   * @throws AppError SOURCE_ROW_OVERSIZED when they do not tell what becomes of it
   */
  pushPrefix(prefix: Uint8Array): void {
    const kind = prefix[0];
    // A message that somebody else wrote into the WAL.
    if (kind === MESSAGE.logical) return;
    if (prefix.length < 5 || !isRowMessage(kind ?? 0)) {
      throw new AppError('SOURCE_PROTOCOL', { internal: `message of kind ${kind} and impossible size` });
    }
    const relation = this.relationOfRow(new DataView(prefix.buffer, prefix.byteOffset).getUint32(1));
    if (this.count(relation)) this.appendInstead(relation, limitRowByPrefix(prefix, this.options.rowBytesMax));
  }

  /** Closes the frame after its last whole transaction, if it has one; what follows goes into the next frame. */
  flushCompleted(): void {
    const { completed } = this;
    if (!completed) return;
    const whole = this.out;
    const tail = whole.written().subarray(completed.bytes);
    this.emit(barrierAt(completed.lsn), completed.endLsn, completed.atMs, completed.bytes);
    if (tail.length > 0) beginTail(tail, this.relations, this.frameNo, this.out);
  }

  private pushRare(source: Uint8Array, view: DataView, start: number, end: number): void {
    const message = readMessage(source, view, start, end);
    switch (message.kind) {
      case 'begin':
        this.begin(message.finalLsn, message.commitTimeUs);
        return;
      case 'commit':
        this.commit(message.commitLsn, message.endLsn);
        return;
      case 'truncate':
        this.truncate(message, source, start, end);
        return;
      case 'logical':
        if (message.transactional && message.prefix === this.options.messagePrefix) this.note(message.content);
        return;
      case 'relation':
      case 'type':
      case 'origin':
        return;
      default:
        unreachable(message);
    }
  }

  private begin(finalLsn: Lsn, commitTimeUs: bigint): void {
    if (this.isInside) throw new AppError('SOURCE_PROTOCOL', { internal: 'begin within a transaction' });
    this.isRepeat = finalLsn <= this.options.applied;
    if (!this.isRepeat && this.mustRepeat) {
      throw new AppError('SOURCE_HISTORY_CHANGED', { internal: 'the last durable commit did not come again' });
    }
    this.reachBackfillPoint(finalLsn);
    this.isInside = true;
    this.isPlaced = false;
    this.ordinal = 0;
    this.commitLsn = finalLsn;
    this.commitTimeUs = commitTimeUs;
    this.activations = [];
  }

  private commit(commitLsn: Lsn, endLsn: Lsn): void {
    if (!this.isInside || commitLsn !== this.commitLsn)
      throw new AppError('SOURCE_PROTOCOL', { internal: 'commit without its begin' });
    this.isInside = false;
    if (this.isRepeat) {
      if (commitLsn === this.options.applied) this.mustRepeat = false;
      return;
    }
    const atMs = unixMsFromPgUs(this.commitTimeUs);
    this.completed = { lsn: commitLsn, endLsn, atMs, bytes: this.out.length };
    const isBarrier = this.everyCommitUntil !== undefined || this.activations.length > 0;
    if (isBarrier || this.out.length >= this.options.frameBytesMax) this.flushCompleted();
    for (const content of this.activations) this.events.activation(content, commitLsn);
  }

  private reachBackfillPoint(finalLsn: Lsn): void {
    const until = this.everyCommitUntil;
    if (until !== undefined && until !== 'unknown' && finalLsn >= until) this.everyCommitUntil = undefined;
  }

  private note(content: Uint8Array): void {
    if (this.activations.length === messagesPerCommitMax) return;
    const text = Buffer.from(content).toString('utf8');
    if (text.startsWith(ACTIVATION)) this.activations.push(text.slice(ACTIVATION.length));
  }

  private truncate(message: TruncateMessage, source: Uint8Array, start: number, end: number): void {
    const relations = message.relationOids.map((oid) => this.relationOfRow(oid));
    const [first] = relations.filter((relation) => relation.isUsed);
    if (!this.count(first) || !first) return;
    for (const relation of relations) this.relations.describe(relation, this.frameNo, this.out);
    this.append(first, source, start, end);
  }

  private describe(source: Uint8Array, view: DataView, start: number, end: number): void {
    const message = readMessage(source, view, start, end);
    if (message.kind !== 'relation') return;
    const previous = this.relations.get(message.oid)?.message;
    if (this.relations.isRepeated(message.oid, source, start, end)) {
      this.events.relationRepeated(message);
      return;
    }
    // Rows of the old form must not end up behind the new description, as they would in a tail; and whoever is told of the
    // table may want to act between the commits before it and its rows.
    this.flushCompleted();
    const isUsed = this.events.relation(message, previous);
    this.relations.set(message, source, start, end, isUsed);
  }

  private relationOfRow(oid: number): Relation {
    const relation = this.relations.get(oid);
    if (!relation) throw new AppError('SOURCE_PROTOCOL', { internal: 'row of a table that was not described' });
    return relation;
  }

  /** Counts a row or TRUNCATE (L1); true when it belongs into the frame. */
  private count(relation: Relation | undefined): boolean {
    if (!this.isInside) throw new AppError('SOURCE_PROTOCOL', { internal: 'row outside a transaction' });
    this.ordinal++;
    if (this.isRepeat) return false;
    if (relation?.isUsed) return true;
    this.isPlaced = false;
    return false;
  }

  private appendLimited(relation: Relation, source: Uint8Array, view: DataView, start: number, end: number): void {
    const limited = limitRow(source, view, start, end, this.options.rowBytesMax);
    if (limited.kind === 'whole') this.append(relation, source, start, end);
    else this.appendInstead(relation, limited);
  }

  private appendInstead(relation: Relation, limited: LimitedRow): void {
    this.events.rowLeftOut(relation.message);
    if (limited.kind === 'replaced') this.append(relation, limited.message, 0, limited.message.length);
    // Nothing stands for this ordinal, so that the next row must say its own.
    else this.isPlaced = false;
  }

  private append(relation: Relation, source: Uint8Array, start: number, end: number): void {
    const { out } = this;
    if (!this.isPlaced) {
      this.isPlaced = true;
      // Commit times of Postgres are microseconds since 2000.
      const committedAtUs = this.commitTimeUs + PG_EPOCH_UNIX_US;
      appendTransactionRecord(out, { commitLsn: this.commitLsn, committedAtUs, ordinal: this.ordinal });
    }
    this.relations.describe(relation, this.frameNo, out);
    appendRecord(out, source, start, end);
    if (out.length >= this.options.frameBytesMax) this.flushInside();
  }

  /** The frame is full within a transaction: whole transactions before it get their barrier, the rest goes on. */
  private flushInside(): void {
    this.flushCompleted();
    if (this.out.length < this.options.frameBytesMax) return;
    const end = { lsn: this.commitLsn, seq: this.ordinal * SEQ_PER_ORDINAL + SEQ_PER_ORDINAL - 1 };
    this.emit(end, ZERO, unixMsFromPgUs(this.commitTimeUs), this.out.length);
    this.isPlaced = false;
  }

  private emit(end: Position, endLsn: Lsn, committedAtMs: number, bytes: number): void {
    const { prev, out } = this;
    const isMostlyFull = bytes > out.bytes.length / 2;
    const changes = isMostlyFull ? out.bytes.subarray(0, bytes) : out.bytes.slice(0, bytes);
    // A large buffer is given away rather than copied; a small one is used again, unless a tail still lies in it. The next frame
    // is likely to be as large, and what a buffer has beyond that would wait in the queue with it.
    if (isMostlyFull || bytes < out.length)
      this.out = new ByteWriter(isMostlyFull ? Math.ceil(bytes * slackFactor) : initialBytes);
    else out.reset();
    this.prev = end;
    this.completed = undefined;
    this.frameNo++;
    this.events.frame({ prev, end, endLsn, committedAtMs, changes });
  }
}

/**
 * A partition writes the WAL by a replica identity of its own, while its rows come under the description of the partitioned table.
 * @throws AppError SCHEMA_RELOADING when it leaves out the old row that the description promises
 */
function refuseHalfOld({ message }: Relation, tag: number | undefined): void {
  if (message.replicaIdentity !== 'f' || tag === OLD.full) return;
  throw new AppError('SCHEMA_RELOADING', {
    internal: 'a row without its whole old image',
    details: { table: `${message.schema}.${message.name}` },
  });
}

import { ByteWriter } from '@sluice/domain';
import { AppError, assert } from '@sluice/errors';
import {
  appendOrdinalRecord,
  appendRecord,
  appendTransactionRecord,
  forEachRecord,
  RECORD_TRANSACTION,
  readTransactionRecord,
  type TransactionRecord,
} from '@sluice/op-queue';
import {
  deleteFromTuple,
  fillUnchangedToast,
  insertFromTuple,
  MESSAGE,
  OLD,
  RowMessage,
  readMessage,
  readRowMessage,
  type TupleSlots,
} from '@sluice/pgoutput';
import { keyColumnsOf, RowRouter } from './row-router.ts';
import type { ShardMap } from './shard-map.ts';

/** Bytes that a shard's share may be larger than its even part before it moves to a larger buffer. */
const SHARE_SLACK_BYTES = 4096;

/** A table as the frame at hand describes it. */
interface FrameRelation {
  readonly start: number;
  readonly end: number;
  readonly keyColumns: readonly number[];
  /** By shard: its share describes the table already. */
  readonly isDescribed: Uint8Array;
}

/**
 * Divides the records of a frame, or of a part of a copy, among the shards of a map. Each row goes to the shard of its key,
 * with the ordinal that it has in the whole transaction (L1); a TRUNCATE goes to all. A change that moves a row to a key of
 * another shard becomes a removal there and an insert here, both with the change's ordinal.
 */
export class ChangeSplitter {
  private readonly map: ShardMap;
  private readonly router: RowRouter;
  private readonly row = new RowMessage();
  private readonly relations = new Map<number, FrameRelation>();

  // The frame at hand.
  private src: Uint8Array = new Uint8Array(0);
  private view: DataView = new DataView(new ArrayBuffer(0));
  private shares: ByteWriter[] = [];
  private transaction: TransactionRecord | undefined;
  private ordinal = 0;
  /** By shard: the ordinal that its next row has without being told; 0 before the transaction's first. */
  private readonly expected: Float64Array;

  constructor(map: ShardMap) {
    this.map = map;
    this.router = new RowRouter(map.shards);
    this.expected = new Float64Array(map.shards);
  }

  /** The shares by shard, empty ones included. @throws AppError SOURCE_PROTOCOL */
  split(changes: Uint8Array): Uint8Array[] {
    this.begin(changes);
    const { src, view } = this;
    forEachRecord(src, view, (kind, start, end) => {
      if (kind === MESSAGE.insert || kind === MESSAGE.update || kind === MESSAGE.delete) this.divideRow(start, end);
      else if (kind === RECORD_TRANSACTION) this.beginTransaction(start, end);
      else if (kind === MESSAGE.relation) this.noteRelation(start, end);
      else if (kind === MESSAGE.truncate) this.truncate(start, end);
      else assert(false, 'a frame holds transactions, relations, rows and TRUNCATEs');
    });
    return this.shares.map((share) => share.written());
  }

  private begin(changes: Uint8Array): void {
    this.src = changes;
    this.view = new DataView(changes.buffer, changes.byteOffset, changes.length);
    const { shards } = this.map;
    const bytes = Math.ceil(changes.length / shards) + SHARE_SLACK_BYTES;
    this.shares = Array.from({ length: shards }, () => new ByteWriter(bytes));
    this.relations.clear();
    this.transaction = undefined;
    this.expected.fill(0);
  }

  private beginTransaction(start: number, end: number): void {
    const transaction = readTransactionRecord(this.src, start, end);
    // The same one again says that ordinals were left out, which each shard is told anyway.
    if (this.transaction?.commitLsn !== transaction.commitLsn) this.expected.fill(0);
    this.transaction = transaction;
    this.ordinal = transaction.ordinal;
  }

  private noteRelation(start: number, end: number): void {
    const message = readMessage(this.src, this.view, start, end);
    assert(message.kind === 'relation', 'a relation message is one');
    const isDescribed = new Uint8Array(this.map.shards);
    this.relations.set(message.oid, { start, end, keyColumns: keyColumnsOf(this.map, message), isDescribed });
  }

  private divideRow(start: number, end: number): void {
    const { src, view, row } = this;
    readRowMessage(src, view, start, end, row);
    const relation = this.relationOf(row.relationOid);
    if (row.kind === MESSAGE.insert) {
      this.append(this.shardOf(relation, row.new), relation, start, end);
    } else if (row.kind === MESSAGE.delete) {
      this.append(this.shardOf(relation, row.old), relation, start, end);
    } else {
      const hasOld = row.oldKind !== OLD.none;
      const shard = this.shardOf(relation, row.new, hasOld ? row.old : undefined);
      const oldShard = hasOld ? this.shardOf(relation, row.old) : shard;
      if (shard === oldShard) this.append(shard, relation, start, end);
      else this.appendMove(relation, { from: oldShard, to: shard });
    }
    this.ordinal++;
  }

  private appendMove(relation: FrameRelation, shards: { readonly from: number; readonly to: number }): void {
    const { src, row } = this;
    if (!fillUnchangedToast(row)) {
      // The other shard does not have the values that the change left alone: they are copied anew.
      throw new AppError('SCHEMA_RELOADING', { internal: 'a key changed shards without its unchanged values' });
    }
    const removal = deleteFromTuple(src, row.relationOid, row.oldKind, row.old);
    const insert = insertFromTuple(src, row.relationOid, row.new);
    appendRecord(this.place(shards.from, relation), removal);
    appendRecord(this.place(shards.to, relation), insert);
  }

  private truncate(start: number, end: number): void {
    const message = readMessage(this.src, this.view, start, end);
    assert(message.kind === 'truncate', 'a TRUNCATE message is one');
    for (let shard = 0; shard < this.map.shards; shard++) {
      for (const oid of message.relationOids) this.describe(shard, this.relationOf(oid));
      appendRecord(this.placed(shard), this.src, start, end);
    }
    this.ordinal++;
  }

  private append(shard: number, relation: FrameRelation, start: number, end: number): void {
    appendRecord(this.place(shard, relation), this.src, start, end);
  }

  private place(shard: number, relation: FrameRelation): ByteWriter {
    this.describe(shard, relation);
    return this.placed(shard);
  }

  /** The shard's share, which says what ordinal the record that follows has; rows of a copy have none. */
  private placed(shard: number): ByteWriter {
    const share = this.shares[shard] as ByteWriter;
    const { transaction, ordinal, expected } = this;
    if (transaction === undefined) return share;
    if (expected[shard] === 0) appendTransactionRecord(share, { ...transaction, ordinal });
    else if (expected[shard] !== ordinal) appendOrdinalRecord(share, ordinal);
    expected[shard] = ordinal + 1;
    return share;
  }

  private describe(shard: number, { start, end, isDescribed }: FrameRelation): void {
    if (isDescribed[shard] === 1) return;
    isDescribed[shard] = 1;
    appendRecord(this.shares[shard] as ByteWriter, this.src, start, end);
  }

  private shardOf({ keyColumns }: FrameRelation, tuple: TupleSlots, fallback?: TupleSlots): number {
    return this.router.shardOf(keyColumns, this.src, this.view, tuple, fallback);
  }

  private relationOf(oid: number): FrameRelation {
    const relation = this.relations.get(oid);
    assert(relation, 'a frame describes a table before its first row');
    return relation;
  }
}

import type { StreamRecord } from '@sluice/bucket-store';
import { ByteWriter, type Epoch, type Lsn, type StreamNo } from '@sluice/domain';
import { appendOrdinalRecord, appendRecord, appendTransactionRecord } from '@sluice/op-queue';
import {
  appendRelationMessage,
  deleteFromTuple,
  fillUnchangedToast,
  insertFromTuple,
  MESSAGE,
  OLD,
  type ReplicaIdentity,
  RowMessage,
  readRowMessage,
  type TupleSlots,
} from '@sluice/pgoutput';
import type { BucketPlan, MembershipPlan, SourceColumn, StreamPlan } from '@sluice/sync-rules';

/** Rows and plans of two small tables, and the bytes that a source would send of them. */

const TEXT = 25;
const utf8 = new TextEncoder();
const column = (name: string): SourceColumn => ({ name, typeOid: TEXT, typmod: -1 });

export const ITEMS_OID = 101;
export const MEMBERS_OID = 102;
export const itemColumns = ['id', 'a', 'b', 'body'].map(column);
export const memberColumns = ['id', 'person', 'team'].map(column);

/** Values in column order; `undefined` is an unchanged TOAST value, null is NULL. */
export type Fields = readonly (string | null | undefined)[];

/** Of 'd' and 'i' the first column alone is the key. */
export function relationMessage(
  oid: number,
  name: string,
  columns: readonly SourceColumn[],
  replicaIdentity: ReplicaIdentity = 'f',
): Uint8Array<ArrayBuffer> {
  const out = new ByteWriter();
  const keyed = columns.map((source, i) => ({ ...source, key: replicaIdentity === 'f' || i === 0 }));
  appendRelationMessage(out, { oid, schema: 'public', name, replicaIdentity, columns: keyed });
  return out.take();
}
export const itemsRelation = relationMessage(ITEMS_OID, 'items', itemColumns);
export const membersRelation = relationMessage(MEMBERS_OID, 'members', memberColumns);

export function insertMessage(oid: number, fresh: Fields): Uint8Array<ArrayBuffer> {
  return rowMessage('I', oid, { new: fresh });
}
export function updateMessage(
  oid: number,
  old: Fields,
  fresh: Fields,
  identity: ReplicaIdentity = 'f',
): Uint8Array<ArrayBuffer> {
  if (identity === 'f') return rowMessage('U', oid, { old, new: fresh });
  // The old key comes only when it is another than the new one.
  return rowMessage('U', oid, old[0] === fresh[0] ? { new: fresh } : { key: keyOf(old), new: fresh });
}
export function deleteMessage(oid: number, old: Fields, identity: ReplicaIdentity = 'f'): Uint8Array<ArrayBuffer> {
  return rowMessage('D', oid, identity === 'f' ? { old } : { key: keyOf(old) });
}
function keyOf([key, ...rest]: Fields): Fields {
  return [key, ...rest.map(() => null)];
}
export function truncateMessage(oids: readonly number[]): Uint8Array<ArrayBuffer> {
  const out = new ByteWriter();
  out.u8(0x54);
  bigEndian(out, oids.length, 4);
  out.u8(0);
  for (const oid of oids) bigEndian(out, oid, 4);
  return out.take();
}

function rowMessage(
  kind: string,
  oid: number,
  row: { key?: Fields; old?: Fields; new?: Fields },
): Uint8Array<ArrayBuffer> {
  const out = new ByteWriter();
  out.u8(kind.charCodeAt(0));
  bigEndian(out, oid, 4);
  if (row.key) tuple(out, 'K', row.key);
  if (row.old) tuple(out, 'O', row.old);
  if (row.new) tuple(out, 'N', row.new);
  return out.take();
}
function tuple(out: ByteWriter, tag: string, fields: Fields): void {
  out.u8(tag.charCodeAt(0));
  bigEndian(out, fields.length, 2);
  for (const field of fields) {
    out.u8((field === null ? 'n' : field === undefined ? 'u' : 't').charCodeAt(0));
    if (typeof field !== 'string') continue;
    const bytes = utf8.encode(field);
    bigEndian(out, bytes.length, 4);
    out.raw(bytes);
  }
}
function bigEndian(out: ByteWriter, value: number, bytes: 2 | 4): void {
  out.reserve(bytes);
  if (bytes === 2) out.view.setInt16(out.length, value);
  else out.view.setInt32(out.length, value);
  out.length += bytes;
}

/** One transaction's messages as records, the first of them being number `ordinal`; undefined ones are other shards'. */
export interface TransactionPart {
  readonly lsn: bigint;
  readonly ordinal: number;
  readonly messages: readonly (Uint8Array | undefined)[];
}
/** A frame's `changes`: both relations, then the parts. */
export function changesOf(
  parts: readonly TransactionPart[],
  relations: readonly Uint8Array[] = [itemsRelation, membersRelation],
): Uint8Array<ArrayBuffer> {
  const out = new ByteWriter();
  for (const relation of relations) appendRecord(out, relation);
  for (const part of parts) {
    appendTransactionRecord(out, { commitLsn: part.lsn as Lsn, committedAtUs: 0n, ordinal: part.ordinal });
    let isTold = true;
    part.messages.forEach((message, at) => {
      if (message && !isTold) appendOrdinalRecord(out, part.ordinal + at);
      if (message) appendRecord(out, message);
      isTold = message !== undefined;
    });
  }
  return out.take();
}

/** Items in a bucket per `a`, and in one per `b` through the teams of a person. */
export const itemsPlan: StreamPlan = {
  version: 1,
  name: 'items',
  sourceTable: { schema: 'public', name: 'items' },
  table: {
    name: 'items',
    keyColumns: 1,
    columns: itemColumns
      .filter(({ name }) => name !== 'b')
      .map((source) => ({ name: source.name, sqliteType: 'TEXT', pgType: 'text', source, baseTypeOid: TEXT })),
  },
  buckets: [
    bucketPlan('a', { kind: 'claim', claim: { path: ['a'] } }),
    bucketPlan('b', { kind: 'membership', membership: 0 }),
  ],
  memberships: [membershipPlan()],
  contentHash: 'items-1',
};
function bucketPlan(name: string, from: BucketPlan['params'][number]['from']): BucketPlan {
  return { filters: [], claimFilters: [], params: [{ column: column(name), type: 'text', from }] };
}
function membershipPlan(): MembershipPlan {
  return {
    table: { schema: 'public', name: 'members' },
    key: [column('id')],
    filters: [],
    lookup: [{ column: column('person'), type: 'text', claim: { path: ['sub'] } }],
    output: { column: column('team'), type: 'text' },
    claimFilters: [],
  };
}

/** What of a message is the shard's: a row is its key's, a changed key is a removal and an insert, a TRUNCATE is everyone's. */
export function shareOf(message: Uint8Array, shard: number, shards: number): Uint8Array | undefined {
  const view = new DataView(message.buffer, message.byteOffset, message.length);
  if (message[0] === MESSAGE.truncate) return message;
  const row = new RowMessage();
  readRowMessage(message, view, 0, message.length, row);
  const isOf = ({ start, end }: TupleSlots) =>
    message.subarray(start[0], end[0]).reduce((sum, byte) => sum * 3 + byte, 0) % shards === shard;
  if (row.kind !== MESSAGE.update) return isOf(row.kind === MESSAGE.insert ? row.new : row.old) ? message : undefined;
  const [leaves, enters] = [isOf(row.oldKind === OLD.none ? row.new : row.old), isOf(row.new)];
  if (leaves && enters) return message;
  if (!leaves && !enters) return undefined;
  fillUnchangedToast(row);
  if (leaves) return deleteFromTuple(message, row.relationOid, row.oldKind, row.old);
  return insertFromTuple(message, row.relationOid, row.new);
}

export function streamRecord(change: Partial<StreamRecord> = {}): StreamRecord {
  return {
    stream: 1 as StreamNo,
    epoch: 1 as Epoch,
    name: 'items',
    contentHash: 'items-1',
    plan: itemsPlan,
    activatedAt: 0n as Lsn,
    backfillPoint: undefined,
    loadedTables: [],
    visibleAfter: undefined,
    droppedAfter: undefined,
    ...change,
  };
}

import type { Lsn } from '@sluice/domain';
import { unreachable } from '@sluice/errors';
import { Cursor } from './cursor.ts';
import { type MessageKind, messageKind } from './message-kind.ts';
import { protocolError } from './protocol-error.ts';

/** `finalLsn` is the LSN of the transaction's commit record; `commitTimeUs` counts from 2000 (see unixMsFromPgUs). */
export interface BeginMessage {
  readonly kind: 'begin';
  readonly finalLsn: Lsn;
  readonly commitTimeUs: bigint;
  readonly xid: number;
}
/** `commitLsn` equals the Begin's `finalLsn`; `endLsn` is the byte after the commit record, which standby status confirms (L2). */
export interface CommitMessage {
  readonly kind: 'commit';
  readonly commitLsn: Lsn;
  readonly endLsn: Lsn;
  readonly commitTimeUs: bigint;
}
export interface OriginMessage {
  readonly kind: 'origin';
  readonly commitLsn: Lsn;
  readonly name: string;
}
/** 'd' default (primary key), 'n' nothing, 'f' full, 'i' an index. */
export type ReplicaIdentity = 'd' | 'n' | 'f' | 'i';
export interface RelationColumn {
  readonly name: string;
  readonly typeOid: number;
  readonly typmod: number;
  /** Part of the replica identity; every column is under FULL. */
  readonly key: boolean;
}
/** Comes before the first row of a table in a connection and again after its definition changed; nothing else tells of DDL. */
export interface RelationMessage {
  readonly kind: 'relation';
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  readonly replicaIdentity: ReplicaIdentity;
  readonly columns: readonly RelationColumn[];
}
/** Names a type that is not built in. A domain comes with its own OID and the name of its base type. */
export interface TypeMessage {
  readonly kind: 'type';
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
}
/** What pg_logical_emit_message wrote: heartbeats and activations of rules. `content` is a copy. */
export interface LogicalMessage {
  readonly kind: 'logical';
  readonly transactional: boolean;
  readonly lsn: Lsn;
  readonly prefix: string;
  readonly content: Uint8Array;
}
/** One message names every relation that the statement emptied, cascaded ones included. */
export interface TruncateMessage {
  readonly kind: 'truncate';
  readonly relationOids: readonly number[];
  readonly cascade: boolean;
  readonly restartIdentity: boolean;
}
/** Every message but the rows, which readRowMessage reads without making objects. */
export type RareMessage =
  | BeginMessage
  | CommitMessage
  | OriginMessage
  | RelationMessage
  | TypeMessage
  | LogicalMessage
  | TruncateMessage;

/**
 * Reads the message in `src[at, end)`, which must not be a row (look at its first byte with `messageKind` first).
 * Copies what it returns, so the bytes may be reused.
 * @throws AppError SOURCE_PROTOCOL for any bytes that are not exactly one such message.
 */
export function readMessage(src: Uint8Array, view: DataView, at: number, end: number): RareMessage {
  if (at >= end) throw protocolError('empty message', at);
  const kind = messageKind(src[at] as number);
  const input = new Cursor(src, view, at + 1, end);
  const message = readFields(kind, input);
  input.finish();
  return message;
}

function readFields(kind: MessageKind, input: Cursor): RareMessage {
  switch (kind) {
    case 'begin':
      return { kind, finalLsn: input.lsn(), commitTimeUs: input.i64(), xid: input.u32() };
    case 'commit':
      return readCommit(input);
    case 'origin':
      return { kind, commitLsn: input.lsn(), name: input.text() };
    case 'relation':
      return readRelation(input);
    case 'type':
      return { kind, oid: input.u32(), schema: schemaName(input.text()), name: input.text() };
    case 'logical':
      return {
        kind,
        transactional: input.flag(),
        lsn: input.lsn(),
        prefix: input.text(),
        content: input.copy(input.i32()),
      };
    case 'truncate':
      return readTruncate(input);
    case 'insert':
    case 'update':
    case 'delete':
      return input.fail('a row where another message must be');
    default:
      return unreachable(kind);
  }
}

function readCommit(input: Cursor): CommitMessage {
  if (input.u8() !== 0) input.fail('unknown commit flags');
  return { kind: 'commit', commitLsn: input.lsn(), endLsn: input.lsn(), commitTimeUs: input.i64() };
}

/** Flags byte, name with its zero, type OID, typmod. */
const COLUMN_BYTES_MIN = 1 + 1 + 4 + 4;

function readRelation(input: Cursor): RelationMessage {
  const oid = input.u32();
  const schema = schemaName(input.text());
  const name = input.text();
  const replicaIdentity = parseReplicaIdentity(input);
  const count = input.i16();
  // Checked before anything is allocated: a count costs its sender as many bytes as it costs us.
  if (count < 0 || count * COLUMN_BYTES_MIN > input.remaining) input.fail('impossible column count');
  const columns: RelationColumn[] = [];
  for (let i = 0; i < count; i++) {
    const key = input.flag();
    columns.push({ name: input.text(), typeOid: input.u32(), typmod: input.i32(), key });
  }
  return { kind: 'relation', oid, schema, name, replicaIdentity, columns };
}

function parseReplicaIdentity(input: Cursor): ReplicaIdentity {
  const letter = String.fromCharCode(input.u8());
  if (letter === 'd' || letter === 'n' || letter === 'f' || letter === 'i') return letter;
  return input.fail('unknown replica identity');
}

function readTruncate(input: Cursor): TruncateMessage {
  const count = input.i32();
  const options = input.u8();
  if (options > 3) input.fail('unknown truncate options');
  if (count < 0 || count * 4 !== input.remaining) input.fail('impossible relation count');
  const relationOids: number[] = [];
  for (let i = 0; i < count; i++) relationOids.push(input.u32());
  return { kind: 'truncate', relationOids, cascade: (options & 1) !== 0, restartIdentity: (options & 2) !== 0 };
}

/** On the wire the empty name stands for pg_catalog. */
function schemaName(wire: string): string {
  return wire === '' ? 'pg_catalog' : wire;
}

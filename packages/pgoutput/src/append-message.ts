import { ByteWriter } from '@sluice/domain';
import { assert } from '@sluice/errors';
import { MESSAGE } from './message-kind.ts';
import type { RelationMessage } from './read-message.ts';
import { type OldKind, SLOT, type TupleSlots } from './row-message.ts';

const utf8 = new TextEncoder();
const NEW_TUPLE = 0x4e; // N
/** Columns are counted in an Int16 on the wire; Postgres itself stops at 1,600. */
export const COLUMNS_MAX = 0x7fff;

/** Appends an Insert message as pgoutput would write it; null is NULL, anything else a value's text form. */
export function appendInsertMessage(
  out: ByteWriter,
  relationOid: number,
  fields: readonly (Uint8Array | null)[],
): void {
  appendInsertHeader(out, relationOid, fields.length);
  for (const field of fields) {
    if (field === null) out.u8(SLOT.null);
    else {
      out.u8(SLOT.text);
      appendU32(out, field.length);
      out.raw(field);
    }
  }
}

/** Appends everything of an Insert message that stands before its first column. */
export function appendInsertHeader(out: ByteWriter, relationOid: number, columnCount: number): void {
  assert(columnCount <= COLUMNS_MAX, 'a row has at most 32767 columns');
  out.u8(MESSAGE.insert);
  appendU32(out, relationOid);
  out.u8(NEW_TUPLE);
  appendU16(out, columnCount);
}

/** The Insert message of a row that another message holds; unchanged values must have been filled in. */
export function insertFromTuple(source: Uint8Array, relationOid: number, tuple: TupleSlots): Uint8Array {
  return messageFromTuple(MESSAGE.insert, NEW_TUPLE, source, relationOid, tuple);
}
/** As insertFromTuple, the Delete of an old row that is whole, or a key alone. */
export function deleteFromTuple(
  source: Uint8Array,
  relationOid: number,
  oldKind: OldKind,
  tuple: TupleSlots,
): Uint8Array {
  return messageFromTuple(MESSAGE.delete, oldKind, source, relationOid, tuple);
}
function messageFromTuple(kind: number, tag: number, source: Uint8Array, oid: number, tuple: TupleSlots): Uint8Array {
  const out = new ByteWriter(256);
  out.u8(kind);
  appendU32(out, oid);
  out.u8(tag);
  appendU16(out, tuple.count);
  for (let i = 0; i < tuple.count; i++) {
    out.u8(tuple.kind[i] as number);
    if (tuple.kind[i] !== SLOT.text) continue;
    const start = tuple.start[i] as number;
    const end = tuple.end[i] as number;
    appendU32(out, end - start);
    out.raw(source, start, end);
  }
  return out.take();
}

/** Appends a Relation message, so that snapshot rows come with the description that the stream would give. */
export function appendRelationMessage(out: ByteWriter, relation: Omit<RelationMessage, 'kind'>): void {
  assert(relation.columns.length <= COLUMNS_MAX, 'a relation has at most 32767 columns');
  out.u8(MESSAGE.relation);
  appendU32(out, relation.oid);
  appendName(out, relation.schema === 'pg_catalog' ? '' : relation.schema);
  appendName(out, relation.name);
  out.u8(relation.replicaIdentity.charCodeAt(0));
  appendU16(out, relation.columns.length);
  for (const column of relation.columns) {
    out.u8(column.key ? 1 : 0);
    appendName(out, column.name);
    appendU32(out, column.typeOid);
    appendU32(out, column.typmod);
  }
}

function appendName(out: ByteWriter, name: string): void {
  const bytes = utf8.encode(name);
  assert(!bytes.includes(0), 'a name has no zero byte');
  out.raw(bytes);
  out.u8(0);
}

// The writer counts little endian, as our own formats do; Postgres counts big endian.
function appendU32(out: ByteWriter, value: number): void {
  out.reserve(4);
  out.view.setInt32(out.length, value);
  out.length += 4;
}
function appendU16(out: ByteWriter, value: number): void {
  out.reserve(2);
  out.view.setInt16(out.length, value);
  out.length += 2;
}

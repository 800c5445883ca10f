import { MESSAGE } from './message-kind.ts';
import { protocolError } from './protocol-error.ts';

/** What stands in a tuple's slot; also the bytes on the wire. */
export const SLOT = {
  null: 0x6e, // n
  /** A TOASTed value that the change left alone; it is not in this tuple. */
  unchanged: 0x75, // u
  text: 0x74, // t
} as const;

/** Which form of the old row a change carries: 0 none, the key alone, or the whole row (REPLICA IDENTITY FULL). */
export const OLD = { none: 0, key: 0x4b, full: 0x4f } as const;
export type OldKind = (typeof OLD)[keyof typeof OLD];
const NEW_TUPLE = 0x4e; // N

/**
 * Where a tuple's columns lie in the bytes that it was read from: column i is `src[start[i], end[i])` when its kind is
 * SLOT.text. One object is reused for every row; it says nothing after the source's buffer was reused.
 */
export class TupleSlots {
  count = 0;
  /** How many slots are SLOT.unchanged. */
  unchangedCount = 0;
  kind: Uint8Array;
  start: Int32Array;
  end: Int32Array;

  constructor(capacity = 64) {
    this.kind = new Uint8Array(capacity);
    this.start = new Int32Array(capacity);
    this.end = new Int32Array(capacity);
  }

  clear(): void {
    this.count = 0;
    this.unchangedCount = 0;
  }

  /** Makes room for `count` columns; what the slots held is lost. */
  reserve(count: number): void {
    if (count <= this.kind.length) return;
    const capacity = Math.max(count, this.kind.length * 2);
    this.kind = new Uint8Array(capacity);
    this.start = new Int32Array(capacity);
    this.end = new Int32Array(capacity);
  }
}

/**
 * Reads a TupleData that begins at `at` into `slots`; returns the offset after it. `view` must cover the same bytes as `src`.
 * @throws AppError SOURCE_PROTOCOL; then `slots` is empty.
 */
export function readTuple(src: Uint8Array, view: DataView, at: number, end: number, slots: TupleSlots): number {
  slots.clear();
  if (end - at < 2) throw protocolError('tuple ends early', at);
  const count = view.getInt16(at);
  at += 2;
  // Every column takes a byte at least, so the slots never outgrow the input.
  if (count < 0 || count > end - at) throw protocolError('impossible column count', at);
  slots.reserve(count);
  const { kind: kinds, start: starts, end: ends } = slots;
  let unchangedCount = 0;
  for (let i = 0; i < count; i++) {
    if (at >= end) throw protocolError('tuple ends early', at);
    const kind = src[at++] as number;
    kinds[i] = kind;
    if (kind === SLOT.text) {
      if (end - at < 4) throw protocolError('tuple ends early', at);
      const length = view.getInt32(at);
      at += 4;
      if (length < 0 || length > end - at) throw protocolError('impossible value length', at);
      starts[i] = at;
      at += length;
    } else {
      // A binary value ('b') would be taken for text: we never ask for it, so it is refused with the rest.
      if (kind !== SLOT.null && kind !== SLOT.unchanged) throw protocolError(`unknown value kind ${kind}`, at - 1);
      if (kind === SLOT.unchanged) unchangedCount++;
      starts[i] = at;
    }
    ends[i] = at;
  }
  slots.count = count;
  slots.unchangedCount = unchangedCount;
  return at;
}

/** One row change, read in place and reused for every row. Tuples that the change does not have are empty. */
export class RowMessage {
  /** MESSAGE.insert, MESSAGE.update or MESSAGE.delete; 0 before the first read. */
  kind = 0;
  relationOid = 0;
  oldKind: OldKind = OLD.none;
  readonly old = new TupleSlots();
  readonly new = new TupleSlots();
}

/** True for the first byte of a message that readRowMessage reads. */
export function isRowMessage(byte: number): boolean {
  return byte === MESSAGE.insert || byte === MESSAGE.update || byte === MESSAGE.delete;
}

/**
 * Reads the Insert, Update or Delete in `src[at, end)` into `into`. `view` must cover the same bytes as `src`.
 * @throws AppError SOURCE_PROTOCOL for any bytes that are not exactly one such message; then `into` holds nothing of use.
 */
export function readRowMessage(src: Uint8Array, view: DataView, at: number, end: number, into: RowMessage): void {
  if (end - at < 6) throw protocolError('row message ends early', at);
  const kind = src[at] as number;
  if (!isRowMessage(kind)) throw protocolError('not a row message', at);
  into.kind = kind;
  into.relationOid = view.getUint32(at + 1);
  at += 5;
  at = readOldTuple(src, view, at, end, into);
  if (kind === MESSAGE.delete) into.new.clear();
  else {
    if (src[at] !== NEW_TUPLE || at >= end) throw protocolError('row message without its new row', at);
    at = readTuple(src, view, at + 1, end, into.new);
  }
  if (at !== end) throw protocolError('bytes after the row message', at);
}

function readOldTuple(src: Uint8Array, view: DataView, at: number, end: number, into: RowMessage): number {
  const tag = src[at] as number;
  if (into.kind !== MESSAGE.insert && (tag === OLD.key || tag === OLD.full)) {
    into.oldKind = tag;
    return readTuple(src, view, at + 1, end, into.old);
  }
  if (into.kind === MESSAGE.delete) throw protocolError('delete without its old row', at);
  into.oldKind = OLD.none;
  into.old.clear();
  return at;
}

/**
 * L7: points each unchanged TOAST slot of the new row at the old row's bytes, which REPLICA IDENTITY FULL carries.
 * Returns whether the new row is now whole. Under other identities the value is not in the message (the old tuple
 * has NULL in its place), so nothing is filled and the caller must know the row from elsewhere.
 * @throws AppError SOURCE_PROTOCOL when the two tuples differ in their number of columns.
 */
export function fillUnchangedToast(row: RowMessage): boolean {
  const { old, new: fresh } = row;
  if (fresh.unchangedCount === 0) return true;
  if (row.oldKind !== OLD.full) return false;
  if (old.count !== fresh.count) throw protocolError('old and new row differ in columns', 0);
  for (let i = 0; i < fresh.count; i++) {
    if (fresh.kind[i] !== SLOT.unchanged || old.kind[i] === SLOT.unchanged) continue;
    fresh.kind[i] = old.kind[i] as number;
    fresh.start[i] = old.start[i] as number;
    fresh.end[i] = old.end[i] as number;
    fresh.unchangedCount--;
  }
  return fresh.unchangedCount === 0;
}

/**
 * Points each unchanged slot of the new row at the old key's bytes, where that has the column: a value in the replica
 * identity may be TOASTed, and is then only in the old key, which comes with such a row whether or not it changed.
 * @throws AppError SOURCE_PROTOCOL when the two tuples differ in their number of columns.
 */
export function fillUnchangedKey(row: RowMessage): void {
  const { old, new: fresh } = row;
  if (fresh.unchangedCount === 0 || row.oldKind !== OLD.key) return;
  if (old.count !== fresh.count) throw protocolError('old and new row differ in columns', 0);
  for (let i = 0; i < fresh.count; i++) {
    if (fresh.kind[i] !== SLOT.unchanged || old.kind[i] !== SLOT.text) continue;
    fresh.kind[i] = SLOT.text;
    fresh.start[i] = old.start[i] as number;
    fresh.end[i] = old.end[i] as number;
    fresh.unchangedCount--;
  }
}

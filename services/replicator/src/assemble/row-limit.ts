import { AppError, isAppError } from '@sluice/errors';
import {
  deleteFromTuple,
  fillUnchangedToast,
  insertFromTuple,
  MESSAGE,
  OLD,
  RowMessage,
  readRowMessage,
  readTuple,
  SLOT,
  TupleSlots,
} from '@sluice/pgoutput';

/** What stands for a row message once rows that are too large are taken out of it. */
export type LimitedRow =
  | { readonly kind: 'whole' }
  | { readonly kind: 'replaced'; readonly message: Uint8Array }
  | { readonly kind: 'nothing' };

const WHOLE: LimitedRow = { kind: 'whole' };
const NOTHING: LimitedRow = { kind: 'nothing' };
/** Kind and OID. */
const HEAD_BYTES = 5;
/** Kind byte of a column, and its length when it has a value. */
const COLUMN_BYTES = 1;
const VALUE_BYTES = 5;

/**
 * A row whose columns take more than `rowBytesMax` bytes in a message is in no bucket. That depends on the row alone, wherever it
 * is met (L6): an update to such a row is a delete, an update from one is an insert. Unchanged TOAST counts with its value.
 * Messages up to `rowBytesMax` need no look, since no row in them can be larger.
 * @throws AppError SOURCE_PROTOCOL
 */
export function limitRow(
  source: Uint8Array,
  view: DataView,
  start: number,
  end: number,
  rowBytesMax: number,
): LimitedRow {
  const row = new RowMessage();
  readRowMessage(source, view, start, end, row);
  if (row.kind !== MESSAGE.insert && row.oldKind !== OLD.full) return limitKeyed(source, row, rowBytesMax);
  fillUnchangedToast(row);
  const hasOld = row.kind !== MESSAGE.insert && tupleBytes(row.old) <= rowBytesMax;
  const hasNew = row.kind !== MESSAGE.delete && tupleBytes(row.new) <= rowBytesMax;
  if (hasOld === (row.kind !== MESSAGE.insert) && hasNew === (row.kind !== MESSAGE.delete)) return WHOLE;
  if (hasOld) return { kind: 'replaced', message: deleteFromTuple(source, row.relationOid, OLD.full, row.old) };
  if (hasNew) return { kind: 'replaced', message: insertFromTuple(source, row.relationOid, row.new) };
  return NOTHING;
}

/**
 * Of the old row there is at most its key, and values that the update left unchanged are counted by nobody: an update to a row
 * that is too large is a delete of the row that it was. Whoever keeps the row's state then knows that there is none.
 */
function limitKeyed(source: Uint8Array, row: RowMessage, rowBytesMax: number): LimitedRow {
  if (row.kind === MESSAGE.delete || tupleBytes(row.new) <= rowBytesMax) return WHOLE;
  const key = row.oldKind === OLD.key ? row.old : keyAmong(row.new);
  return { kind: 'replaced', message: deleteFromTuple(source, row.relationOid, OLD.key, key) };
}

/** The tuple without its large values: an index, and so a key, has none. */
function keyAmong(tuple: TupleSlots): TupleSlots {
  const key = new TupleSlots(tuple.count);
  key.count = tuple.count;
  for (let i = 0; i < tuple.count; i++) {
    const start = tuple.start[i] as number;
    const end = tuple.end[i] as number;
    const isSmall = tuple.kind[i] === SLOT.text && end - start <= KEY_VALUE_BYTES_MAX;
    key.kind[i] = isSmall ? SLOT.text : SLOT.null;
    key.start[i] = start;
    key.end[i] = end;
  }
  return key;
}
/** More than any value in an index may have, which is a third of a page even when it is compressed tenfold. */
const KEY_VALUE_BYTES_MAX = 64 * 1024;

/**
 * As limitRow, for a message that is far larger than any row may be, from its first bytes alone: at least `rowBytesMax`, and some
 * for what stands before the first row. @throws AppError SOURCE_ROW_OVERSIZED when they do not tell
 */
export function limitRowByPrefix(prefix: Uint8Array, rowBytesMax: number): LimitedRow {
  const kind = prefix[0];
  if (kind === MESSAGE.insert || kind === MESSAGE.delete) return NOTHING;
  const view = new DataView(prefix.buffer, prefix.byteOffset, prefix.length);
  const old = new TupleSlots();
  if (kind === MESSAGE.update && prefix[HEAD_BYTES] === OLD.full && isComplete(prefix, view, old)) {
    // All the rest is the new row, which is too large whatever it says.
    if (tupleBytes(old) <= rowBytesMax) {
      return { kind: 'replaced', message: deleteFromTuple(prefix, view.getUint32(1), OLD.full, old) };
    }
  }
  // The old row is too large, and the new one, or what it leaves unchanged, was not kept.
  throw new AppError('SOURCE_ROW_OVERSIZED', { internal: 'an update of a row that is too large to hold' });
}

function isComplete(prefix: Uint8Array, view: DataView, old: TupleSlots): boolean {
  try {
    readTuple(prefix, view, HEAD_BYTES + 1, prefix.length, old);
    return true;
  } catch (error) {
    if (isAppError(error, 'SOURCE_PROTOCOL')) return false;
    throw error;
  }
}

function tupleBytes(tuple: TupleSlots): number {
  let bytes = 0;
  for (let i = 0; i < tuple.count; i++) {
    bytes +=
      tuple.kind[i] === SLOT.text ? VALUE_BYTES + (tuple.end[i] as number) - (tuple.start[i] as number) : COLUMN_BYTES;
  }
  return bytes;
}

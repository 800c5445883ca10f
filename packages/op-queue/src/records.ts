import { ByteReader, type ByteWriter, type Lsn, lsnFromBigint, MalformedBytesError } from '@sluice/domain';
import { RECORD_ORDINAL, RECORD_ORDINAL_BYTES, RECORD_TRANSACTION, RECORD_TRANSACTION_BYTES } from './frame.ts';

/** What a RECORD_TRANSACTION says; the rows and TRUNCATEs that follow count up from `ordinal`. */
export interface TransactionRecord {
  readonly commitLsn: Lsn;
  /** Unix time, microseconds. */
  readonly committedAtUs: bigint;
  /** Ordinal of the next row or TRUNCATE message, from 1 (L1). */
  readonly ordinal: number;
}

/** Appends `source[start, end)`, a pgoutput message, as one record of a frame's `changes`. */
export function appendRecord(out: ByteWriter, source: Uint8Array, start = 0, end = source.length): void {
  out.u32(end - start);
  out.raw(source, start, end);
}

/** Appends the record that begins a transaction's rows, or goes on with them in a further frame. */
export function appendTransactionRecord(out: ByteWriter, transaction: TransactionRecord): void {
  out.u32(RECORD_TRANSACTION_BYTES);
  out.u8(RECORD_TRANSACTION);
  out.u64(transaction.commitLsn);
  out.u64(transaction.committedAtUs);
  out.u32(transaction.ordinal);
}

/** Appends the record that gives the next row its ordinal. */
export function appendOrdinalRecord(out: ByteWriter, ordinal: number): void {
  out.u32(RECORD_ORDINAL_BYTES);
  out.u8(RECORD_ORDINAL);
  out.u32(ordinal);
}

/** Reads the RECORD_ORDINAL in `changes[start, end)`. @throws MalformedBytesError */
export function readOrdinalRecord(view: DataView, start: number, end: number): number {
  const ordinal = end - start === RECORD_ORDINAL_BYTES ? view.getUint32(start + 1, true) : 0;
  if (ordinal === 0) throw new MalformedBytesError('not an ordinal record');
  return ordinal;
}

/**
 * Visits each record of `changes` with its first byte (RECORD_TRANSACTION, RECORD_ORDINAL or a pgoutput message's letter) and the
 * bounds of its bytes, that first byte included. `view` must cover the same bytes.
 * @throws MalformedBytesError for bytes that are not a sequence of whole records; those before were visited.
 */
export function forEachRecord(
  changes: Uint8Array,
  view: DataView,
  visit: (kind: number, start: number, end: number) => void,
): void {
  const length = changes.length;
  let at = 0;
  while (at < length) {
    if (length - at < 5) throw new MalformedBytesError('record ends early');
    const size = view.getUint32(at, true);
    at += 4;
    if (size === 0 || size > length - at) throw new MalformedBytesError('impossible record length');
    visit(changes[at] as number, at, at + size);
    at += size;
  }
}

/** Reads the RECORD_TRANSACTION in `changes[start, end)`. @throws MalformedBytesError */
export function readTransactionRecord(changes: Uint8Array, start: number, end: number): TransactionRecord {
  const reader = new ByteReader(changes, start, end);
  if (reader.u8() !== RECORD_TRANSACTION) throw new MalformedBytesError('not a transaction record');
  const lsn = reader.u64();
  const committedAtUs = reader.u64();
  const ordinal = reader.u32();
  reader.finish();
  if (lsn > 0x7fffffffffffffffn) throw new MalformedBytesError('LSN out of range');
  if (ordinal === 0) throw new MalformedBytesError('ordinals start at 1');
  return { commitLsn: lsnFromBigint(lsn), committedAtUs, ordinal };
}

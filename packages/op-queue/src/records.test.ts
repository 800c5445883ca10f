import { ByteWriter, type Lsn, MalformedBytesError } from '@sluice/domain';
import { describe, expect, test } from 'vitest';
import { RECORD_TRANSACTION } from './frame.ts';
import { appendRecord, appendTransactionRecord, forEachRecord, readTransactionRecord } from './records.ts';

const transaction = { commitLsn: 0x1_0000_0002n as Lsn, committedAtUs: 1_700_000_000_000_123n, ordinal: 7 };

function sample(): Uint8Array<ArrayBuffer> {
  const out = new ByteWriter(8);
  appendTransactionRecord(out, transaction);
  appendRecord(out, Uint8Array.of(9, 0x49, 1, 2, 3), 1);
  return out.take();
}
const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

describe('frame records', () => {
  test('what was appended is visited in order, bytes and all', () => {
    const changes = sample();
    const seen: unknown[] = [];
    forEachRecord(changes, viewOf(changes), (kind, start, end) => {
      seen.push(kind === RECORD_TRANSACTION ? readTransactionRecord(changes, start, end) : changes.slice(start, end));
    });
    expect(seen).toEqual([transaction, Uint8Array.of(0x49, 1, 2, 3)]);
  });

  test('every truncation is a typed error or a shorter sequence of whole records', () => {
    const changes = sample();
    for (let length = 1; length < changes.length; length++) {
      if (length === 25) continue; // exactly the first record
      const cut = changes.slice(0, length);
      expect(() => forEachRecord(cut, viewOf(cut), () => {})).toThrow(MalformedBytesError);
    }
  });

  test('lengths that lead outside the bytes, and empty records, are refused', () => {
    for (const size of [0, 0xffffffff, 0x7fffffff, 3]) {
      const bytes = new Uint8Array(6);
      viewOf(bytes).setUint32(0, size, true);
      expect(() => forEachRecord(bytes, viewOf(bytes), () => {})).toThrow(MalformedBytesError);
    }
  });
});

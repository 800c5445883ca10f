import { ByteWriter } from '@sluice/domain';
import { describe, expect, test } from 'vitest';
import { appendInsertMessage } from './append-message.ts';
import { MESSAGE } from './message-kind.ts';
import {
  fillUnchangedKey,
  fillUnchangedToast,
  OLD,
  RowMessage,
  readRowMessage,
  SLOT,
  type TupleSlots,
} from './row-message.ts';
import { viewOf, WireBytes } from './testing-bytes.ts';

function read(bytes: Uint8Array, into = new RowMessage()): RowMessage {
  readRowMessage(bytes, viewOf(bytes), 0, bytes.length, into);
  return into;
}

/** The slots as the test builder takes them. */
function valuesOf(bytes: Uint8Array, slots: TupleSlots): (string | null | undefined)[] {
  return Array.from({ length: slots.count }, (_, i) => {
    if (slots.kind[i] === SLOT.null) return null;
    if (slots.kind[i] === SLOT.unchanged) return undefined;
    return new TextDecoder().decode(bytes.subarray(slots.start[i], slots.end[i]));
  });
}

describe('row messages', () => {
  test('an insert, an update under each identity and a delete are read in place by one object', () => {
    const row = new RowMessage();
    const insert = new WireBytes().char('I').u32(16400).char('N').tuple(['1', null, 'ü', '']).take();
    read(insert, row);
    expect([row.kind, row.relationOid, row.oldKind, row.old.count]).toEqual([MESSAGE.insert, 16400, OLD.none, 0]);
    expect(valuesOf(insert, row.new)).toEqual(['1', null, 'ü', '']);

    const full = new WireBytes().char('U').u32(4_000_000_000).char('O').tuple(['1', 'a']).char('N').tuple(['1', 'b']);
    const fullBytes = full.take();
    read(fullBytes, row);
    expect([row.kind, row.relationOid, row.oldKind]).toEqual([MESSAGE.update, 4_000_000_000, OLD.full]);
    expect([valuesOf(fullBytes, row.old), valuesOf(fullBytes, row.new)]).toEqual([
      ['1', 'a'],
      ['1', 'b'],
    ]);

    const key = new WireBytes().char('U').u32(1).char('K').tuple(['1', null]).char('N').tuple(['2', 'b']).take();
    read(key, row);
    expect([row.oldKind, valuesOf(key, row.old), valuesOf(key, row.new)]).toEqual([OLD.key, ['1', null], ['2', 'b']]);

    const plain = new WireBytes().char('U').u32(1).char('N').tuple(['2', 'b']).take();
    read(plain, row);
    expect([row.oldKind, row.old.count, row.new.count]).toEqual([OLD.none, 0, 2]);

    const gone = new WireBytes().char('D').u32(1).char('O').tuple(['2', 'b']).take();
    read(gone, row);
    expect([row.kind, row.oldKind, row.old.count, row.new.count]).toEqual([MESSAGE.delete, OLD.full, 2, 0]);
  });

  test('a row in the middle of a larger buffer is read by its offsets', () => {
    const message = new WireBytes().char('I').u32(7).char('N').tuple(['abc']).take();
    const buffer = new Uint8Array(message.length + 30).fill(0x55);
    buffer.set(message, 10);
    const part = buffer.subarray(3);
    const row = new RowMessage();
    readRowMessage(part, viewOf(part), 7, 7 + message.length, row);
    expect(valuesOf(part, row.new)).toEqual(['abc']);
  });

  test('L7: an unchanged TOAST value is taken from the full old row, byte for byte', () => {
    const old = ['1', 'long value', null];
    const bytes = new WireBytes().char('U').u32(1).char('O').tuple(old).char('N').tuple(['2', undefined, undefined]);
    const source = bytes.take();
    const row = read(source);
    expect(row.new.unchangedCount).toBe(2);
    expect(fillUnchangedToast(row)).toBe(true);
    expect(valuesOf(source, row.new)).toEqual(['2', 'long value', null]);
  });

  test('L7: without the full old row an unchanged value stays unknown and never becomes NULL', () => {
    const bytes = new WireBytes()
      .char('U')
      .u32(1)
      .char('K')
      .tuple(['1', null])
      .char('N')
      .tuple(['2', undefined])
      .take();
    const row = read(bytes);
    expect(fillUnchangedToast(row)).toBe(false);
    expect(valuesOf(bytes, row.new)).toEqual(['2', undefined]);
    const noOld = new WireBytes().char('U').u32(1).char('N').tuple(['2', undefined]).take();
    expect(fillUnchangedToast(read(noOld))).toBe(false);
  });

  test('L7: old and new rows of different widths are refused, not matched', () => {
    const bytes = new WireBytes().char('U').u32(1).char('O').tuple(['1']).char('N').tuple(['1', undefined]).take();
    const row = read(bytes);
    expect(() => fillUnchangedToast(row)).toThrow('SOURCE_PROTOCOL');
  });

  test('L7: a TOASTed value of the identity comes with the old key alone, changed or not', () => {
    const bytes = new WireBytes()
      .char('U')
      .u32(1)
      .char('K')
      .tuple(['long key', null, null])
      .char('N')
      .tuple([undefined, undefined, 'new'])
      .take();
    const row = read(bytes);
    fillUnchangedKey(row);
    expect(valuesOf(bytes, row.new)).toEqual(['long key', undefined, 'new']);
    expect(row.new.unchangedCount).toBe(1);
    const full = read(new WireBytes().char('U').u32(1).char('O').tuple(['1']).char('N').tuple([undefined]).take());
    fillUnchangedKey(full);
    expect(full.new.unchangedCount).toBe(1);
    const wide = new WireBytes().char('U').u32(1).char('K').tuple(['1']).char('N').tuple(['1', undefined]).take();
    expect(() => fillUnchangedKey(read(wide))).toThrow('SOURCE_PROTOCOL');
  });

  test('1,664 columns fit; slots grow once and stay', () => {
    const values = Array.from({ length: 1664 }, (_, i) => (i % 3 === 0 ? null : String(i)));
    const bytes = new WireBytes().char('I').u32(1).char('N').tuple(values).take();
    expect(valuesOf(bytes, read(bytes).new)).toEqual(values);
  });

  test('an Insert that we write is read back equal', () => {
    const out = new ByteWriter(8);
    const value = Uint8Array.from({ length: 300 }, (_, i) => i & 0xff);
    appendInsertMessage(out, 4_000_000_000, [value, null, new Uint8Array(0)]);
    const bytes = out.take();
    const row = read(bytes);
    expect(row.relationOid).toBe(4_000_000_000);
    expect(bytes.slice(row.new.start[0], row.new.end[0])).toEqual(value);
    expect([row.new.kind[1], row.new.kind[2]]).toEqual([SLOT.null, SLOT.text]);
    expect(row.new.start[2]).toBe(row.new.end[2]);
  });

  test.each([
    ['an insert with an old row', new WireBytes().char('I').u32(1).char('O').tuple(['1']).char('N').tuple(['1'])],
    ['an update without a new row', new WireBytes().char('U').u32(1).char('O').tuple(['1'])],
    ['two old rows', new WireBytes().char('U').u32(1).char('O').tuple(['1']).char('K').tuple(['1'])],
    ['a delete with a new row', new WireBytes().char('D').u32(1).char('N').tuple(['1'])],
    ['bytes after the row', new WireBytes().char('I').u32(1).char('N').tuple(['1']).u8(0)],
    ['a binary value', new WireBytes().char('I').u32(1).char('N').u16(1).char('b').u32(1).u8(0)],
    ['a negative length', new WireBytes().char('I').u32(1).char('N').u16(1).char('t').u32(0xffffffff).u8(0)],
    ['a hostile length', new WireBytes().char('I').u32(1).char('N').u16(1).char('t').u32(0x7fffffff).u8(0)],
    ['a negative column count', new WireBytes().char('I').u32(1).char('N').u16(0x8000).u8(0)],
    ['a Begin', new WireBytes().char('B').u64(1n).u64(0n).u32(1)],
  ])('L6: %s is SOURCE_PROTOCOL', (_, wire) => {
    const row = new RowMessage();
    expect(() => read(wire.take(), row)).toThrow('SOURCE_PROTOCOL');
  });

  test('L6: a hostile column count allocates no more than the message has bytes', () => {
    const row = new RowMessage();
    const capacity = row.new.kind.length;
    const bytes = new WireBytes().char('I').u32(1).char('N').u16(0x7fff).raw(new Uint8Array(20)).take();
    expect(() => read(bytes, row)).toThrow('SOURCE_PROTOCOL');
    expect(row.new.kind.length).toBe(capacity);
  });
});

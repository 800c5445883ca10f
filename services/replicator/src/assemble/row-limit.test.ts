import { ByteWriter } from '@sluice/domain';
import { appendInsertMessage, MESSAGE, OLD, RowMessage, readRowMessage, SLOT } from '@sluice/pgoutput';
import { describe, expect, it } from 'vitest';
import { type LimitedRow, limitRow, limitRowByPrefix } from './row-limit.ts';

const rowBytesMax = 100;
const small = 's'.repeat(20);
const big = 'b'.repeat(200);
const UNCHANGED = Symbol('unchanged');
type Value = string | null | typeof UNCHANGED;

function tuple(out: ByteWriter, values: readonly Value[]): void {
  out.u8(0);
  out.u8(values.length);
  for (const value of values) {
    if (value === null) out.u8(SLOT.null);
    else if (value === UNCHANGED) out.u8(SLOT.unchanged);
    else {
      out.u8(SLOT.text);
      for (const byte of [0, value.length >>> 16, (value.length >>> 8) & 0xff, value.length & 0xff]) out.u8(byte);
      out.raw(Buffer.from(value));
    }
  }
}
function change(
  old: readonly Value[] | undefined,
  fresh: readonly Value[] | undefined,
  tag: number = OLD.full,
): Uint8Array {
  const out = new ByteWriter();
  out.u8(old ? (fresh ? MESSAGE.update : MESSAGE.delete) : MESSAGE.insert);
  for (const byte of [0, 0, 0, 9]) out.u8(byte);
  if (old) {
    out.u8(tag);
    tuple(out, old);
  }
  if (fresh) {
    out.u8('N'.charCodeAt(0));
    tuple(out, fresh);
  }
  return out.take();
}
function limited(message: Uint8Array): LimitedRow {
  return limitRow(message, new DataView(message.buffer), 0, message.length, rowBytesMax);
}
function textOf(row: LimitedRow): string {
  if (row.kind !== 'replaced') return row.kind;
  const read = new RowMessage();
  const { message } = row;
  readRowMessage(message, new DataView(message.buffer, message.byteOffset, message.length), 0, message.length, read);
  const values = read.kind === MESSAGE.insert ? read.new : read.old;
  const texts = Array.from({ length: values.count }, (_, i) =>
    values.kind[i] === SLOT.text ? Buffer.from(message.subarray(values.start[i], values.end[i])).toString() : 'null',
  );
  return `${String.fromCharCode(read.kind)} ${read.relationOid} ${texts.join()}`;
}

describe('limitRow', () => {
  it('L6, L7: of a table that is not FULL, an update to a row that is too large deletes the row that it was', () => {
    const keyed = (old: readonly Value[], fresh?: readonly Value[]) => limited(change(old, fresh, OLD.key));
    expect(textOf(keyed(['1', null], ['2', small]))).toBe('whole');
    expect(textOf(keyed(['1', null], ['2', UNCHANGED]))).toBe('whole');
    expect(textOf(keyed(['1', null], ['2', big]))).toBe('D 9 1,null');
    expect(textOf(keyed(['1', null]))).toBe('whole');
    const withoutKey = change(['1'], ['1', small, 'v'.repeat(70_000)], OLD.key);
    // The same message without its old key: an update that leaves the key as it was.
    const plain = Uint8Array.from([...withoutKey.subarray(0, 5), ...withoutKey.subarray(5 + 1 + 2 + 6)]);
    const replaced = limited(plain);
    expect(textOf(replaced)).toBe(`D 9 1,${small},null`);
    expect(replaced.kind === 'replaced' && replaced.message[5]).toBe(OLD.key);
  });

  it('L6: takes a row that is too large for one that is not there, whatever happens to it', () => {
    expect(textOf(limited(change(undefined, ['1', small])))).toBe('whole');
    expect(textOf(limited(change(undefined, ['1', big])))).toBe('nothing');
    expect(textOf(limited(change(['1', big], undefined)))).toBe('nothing');
    expect(textOf(limited(change(['1', small], ['1', small])))).toBe('whole');
    expect(textOf(limited(change(['1', small], ['1', big])))).toBe(`D 9 1,${small}`);
    expect(textOf(limited(change(['1', big], ['2', null])))).toBe('I 9 2,null');
    expect(textOf(limited(change(['1', big], ['1', big])))).toBe('nothing');
  });

  it('L7: counts and keeps the values that an update left unchanged', () => {
    expect(textOf(limited(change(['1', big, null], [UNCHANGED, UNCHANGED, 'x'])))).toBe('nothing');
    expect(textOf(limited(change(['1', small, big], ['1', UNCHANGED, 'x'])))).toBe(`I 9 1,${small},x`);
  });

  it('counts the bytes of a row as a copied row counts them', () => {
    const values = ['1', 'v'.repeat(88)];
    const out = new ByteWriter();
    appendInsertMessage(
      out,
      9,
      values.map((value) => Buffer.from(value)),
    );
    expect(out.length - 8).toBe(99);
    expect(textOf(limited(change(['1', big], values)))).toBe(`I 9 ${values.join()}`);
    expect(textOf(limited(change(['1', big], ['1', 'v'.repeat(90)])))).toBe('nothing');
  });
});

describe('limitRowByPrefix', () => {
  it('L6: needs no more than the first bytes of an insert, a delete, or an update of a row that fits', () => {
    expect(textOf(limitRowByPrefix(change(undefined, ['1', big]).subarray(0, 50), rowBytesMax))).toBe('nothing');
    expect(textOf(limitRowByPrefix(change(['1', big], undefined).subarray(0, 50), rowBytesMax))).toBe('nothing');
    const update = change(['1', small], ['1', big]).subarray(0, 120);
    expect(textOf(limitRowByPrefix(update, rowBytesMax))).toBe(`D 9 1,${small}`);
  });

  it('gives up on an update of a row that was not kept', () => {
    const update = change(['1', big], ['1', small]).subarray(0, 120);
    expect(() => limitRowByPrefix(update, rowBytesMax)).toThrow(/SOURCE_ROW_OVERSIZED/);
  });
});

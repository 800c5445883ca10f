import { ByteWriter } from '@sluice/domain';
import { isAppError } from '@sluice/errors';
import { seededRandom } from '@sluice/testkit';
import { describe, expect, test } from 'vitest';
import { CopyDataFrame, readCopyData } from './copy-data.ts';
import { insertFromCopyLine } from './insert-from-copy-line.ts';
import { readMessage } from './read-message.ts';
import { fillUnchangedToast, isRowMessage, RowMessage, readRowMessage, type TupleSlots } from './row-message.ts';
import { viewOf, WireBytes } from './testing-bytes.ts';

const random = seededRandom();

const samples: readonly Uint8Array[] = [
  new WireBytes().char('B').u64(1n).u64(2n).u32(3).take(),
  new WireBytes().char('C').u8(0).u64(1n).u64(2n).u64(3n).take(),
  new WireBytes().char('O').u64(9n).text('node').take(),
  new WireBytes()
    .char('R')
    .u32(1)
    .text('public')
    .text('t')
    .char('f')
    .u16(2)
    .u8(1)
    .text('id')
    .u32(20)
    .u32(0xffffffff)
    .u8(0)
    .text('ü')
    .u32(25)
    .u32(0xffffffff)
    .take(),
  new WireBytes().char('Y').u32(16500).text('s').text('mood').take(),
  new WireBytes().char('M').u8(1).u64(5n).text('p').u32(3).raw([1, 2, 3]).take(),
  new WireBytes().char('T').u32(2).u8(1).u32(7).u32(8).take(),
  new WireBytes().char('I').u32(1).char('N').tuple(['1', null, 'abc']).take(),
  new WireBytes().char('U').u32(1).char('O').tuple(['1', 'x']).char('N').tuple(['1', undefined]).take(),
  new WireBytes().char('U').u32(1).char('K').tuple(['1', null]).char('N').tuple(['2', undefined]).take(),
  new WireBytes().char('D').u32(1).char('K').tuple(['1', null]).take(),
];

const row = new RowMessage();
const frame = new CopyDataFrame();
const out = new ByteWriter();

/** Reads the bytes every way that the package offers; returns whether they were a message. */
function readAny(bytes: Uint8Array): boolean {
  const view = viewOf(bytes);
  outcome(() => readCopyData(bytes, view, 0, bytes.length, frame));
  outcome(() => {
    out.reset();
    insertFromCopyLine(bytes, viewOf(bytes), 0, bytes.length, bytes.length % 7, 1, out);
  });
  if (bytes.length === 0 || !isRowMessage(bytes[0] as number))
    return outcome(() => readMessage(bytes, view, 0, bytes.length));
  return outcome(() => {
    readRowMessage(bytes, view, 0, bytes.length, row);
    expectInside(row.old, bytes.length);
    expectInside(row.new, bytes.length);
    fillUnchangedToast(row);
    expectInside(row.new, bytes.length);
  });
}

/** True when `read` succeeds, false when it throws SOURCE_PROTOCOL; anything else fails the test. */
function outcome(read: () => void): boolean {
  try {
    read();
    return true;
  } catch (error) {
    if (isAppError(error, 'SOURCE_PROTOCOL')) return false;
    throw error;
  }
}

function expectInside(slots: TupleSlots, length: number): void {
  for (let i = 0; i < slots.count; i++) {
    const start = slots.start[i] as number;
    const end = slots.end[i] as number;
    if (start < 0 || end < start || end > length) throw new Error('a slot points outside the message');
  }
}

describe('L6: any byte string gives a message or a typed error', () => {
  test('a valid message cut at any byte, or one byte longer, is refused', () => {
    for (const sample of samples) {
      expect(readAny(sample)).toBe(true);
      for (let length = 0; length < sample.length; length++) expect(readAny(sample.slice(0, length))).toBe(false);
      expect(readAny(Uint8Array.of(...sample, 0))).toBe(false);
    }
  });

  test('a message cut inside a larger buffer is never read beyond its end', () => {
    for (const sample of samples) {
      const buffer = new Uint8Array(sample.length * 2);
      buffer.set(sample);
      buffer.set(sample, sample.length);
      for (let length = 1; length < sample.length; length++) {
        const read = isRowMessage(sample[0] as number)
          ? () => readRowMessage(buffer, viewOf(buffer), 0, length, row)
          : () => readMessage(buffer, viewOf(buffer), 0, length);
        expect(outcome(read)).toBe(false);
      }
    }
  });

  test(`changed, cut, joined and random bytes (seed ${random.seed})`, () => {
    const below = (bound: number) => random.int(0, bound - 1);
    for (let round = 0; round < 60_000; round++) {
      const sample = samples[below(samples.length)] as Uint8Array;
      const bytes = round % 4 === 0 ? Uint8Array.from({ length: below(64) }, () => below(256)) : sample.slice();
      for (let flips = below(4); flips > 0 && bytes.length > 0; flips--)
        bytes[below(bytes.length)] = hostileByte(below);
      readAny(round % 5 === 0 ? bytes.subarray(0, below(bytes.length + 1)) : bytes);
    }
    expect(row.new.kind.length).toBeLessThanOrEqual(128);
  });
});

function hostileByte(below: (bound: number) => number): number {
  return [0, 1, 0x7f, 0x80, 0xff, 0x74, 0x75, 0x6e, 0x5c, below(256)][below(10)] as number;
}

import { describe, expect, it } from 'vitest';
import { parseHex } from './bytes.ts';
import { Checksum, rowHash, tableSeed } from './hash.ts';

/** The first 64 bits that another implementation of MurmurHash3 x86_128 gives: input (hex), seed, result. */
const VECTORS: readonly (readonly [string, number, string])[] = [
  ['', 0, '0000000000000000'],
  ['', 1, '54d201b988c4adec'],
  ['61', 0, '5556b01ba794933c'],
  ['736c75696365', 7, '1112bac1b8e850a4'],
  ['30313233343536373839616263646566', 0, '36aed30afb7d4409'],
  ['54686520717569636b2062726f776e20666f78206a756d7073206f76657220746865206c617a7920646f67', 42, 'b1fd95c7b0c69c19'],
  [Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, '0')).join(''), 123456789, '7cba892b5365a4c3'],
  ['c8c9cacbcccdcecfd0d1d2d3d4d5d6', 9, '362181964767a8cd'],
  ['00'.repeat(31), 0xffffffff, '00df32bb7027aec5'],
];

describe('row hashes (L9)', () => {
  it.each(VECTORS)('L9: MurmurHash3 x86_128 of %s with seed %d', (hex, seed, expected) => {
    expect(rowHash(seed, parseHex(hex)).toString(16).padStart(16, '0')).toBe(expected);
  });

  it('L9: equal rows of different tables have different seeds', () => {
    expect(tableSeed('flights')).not.toBe(tableSeed('airports'));
  });

  it('L9: a sum depends on no order, and taking away undoes adding, across the 32-bit carry', () => {
    const values: readonly (readonly [number, number])[] = [
      [0xffffffff, 0xffffffff],
      [1, 0],
      [0x80000000, 0x7fffffff],
      [0xffffffff, 0],
    ];
    const forward = new Checksum();
    for (const [lo, hi] of values) forward.add(lo, hi);
    const backward = new Checksum();
    for (const [lo, hi] of [...values].reverse()) backward.add(lo, hi);
    expect(forward.toBigint()).toBe(backward.toBigint());
    const expected = values.reduce((sum, [lo, hi]) => BigInt.asUintN(64, sum + (BigInt(hi) << 32n) + BigInt(lo)), 0n);
    expect(forward.toBigint()).toBe(expected);
    for (const [lo, hi] of values) forward.subtract(lo, hi);
    expect(forward.toBigint()).toBe(0n);
  });
});

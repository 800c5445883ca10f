import { deflateRawSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { inflateNative } from './inflate-native.ts';

describe('inflating with zlib', () => {
  test('gives back what was deflated, of any size', () => {
    for (const bytes of [1, 63, 64, 65, 100_000, 4 * 1024 * 1024]) {
      const plain = Buffer.alloc(bytes, 'some text that repeats');
      expect(Buffer.compare(inflateNative(deflateRawSync(plain), bytes), plain)).toBe(0);
    }
  });
  test('what would become larger than announced is refused', () => {
    const bomb = deflateRawSync(Buffer.alloc(16 * 1024 * 1024));
    expect(() => inflateNative(bomb, 1000)).toThrow(RangeError);
  });
  test('what is cut short or no deflated bytes at all is refused', () => {
    const whole = deflateRawSync(Buffer.alloc(10_000, 'abc'));
    expect(() => inflateNative(whole.subarray(0, whole.length - 2), 10_000)).toThrow();
    expect(() => inflateNative(Buffer.from([7, 7, 7, 7]), 10_000)).toThrow();
  });
});

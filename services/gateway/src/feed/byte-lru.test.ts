import { describe, expect, it } from 'vitest';
import { ByteLru } from './byte-lru.ts';

const cacheOf = (bytesMax: number) => new ByteLru<string>(bytesMax, (value) => value.length);

describe('ByteLru', () => {
  it('loads a key once, however many ask meanwhile', async () => {
    const cache = cacheOf(10_000);
    let loads = 0;
    const load = async () => `value ${++loads}`;
    expect(await Promise.all([cache.get('a', load), cache.get('a', load), cache.get('a', load)])).toEqual([
      'value 1',
      'value 1',
      'value 1',
    ]);
  });

  it('L16: stays within its bytes, and drops what was not used longest', async () => {
    const cache = cacheOf(2600);
    const big = () => Promise.resolve('x'.repeat(1000));
    await cache.get('a', big);
    await cache.get('b', big);
    await cache.get('a', big);
    await cache.get('c', big);
    expect(cache.bytes).toBeLessThanOrEqual(2600);
    const { misses } = cache;
    await cache.get('a', big);
    expect(cache.misses).toBe(misses);
    await cache.get('b', big);
    expect(cache.misses).toBe(misses + 1);
  });

  it('what is larger than all of it is handed on and not kept', async () => {
    const cache = cacheOf(100);
    expect(await cache.get('a', () => Promise.resolve('x'.repeat(1000)))).toHaveLength(1000);
    expect([cache.size, cache.bytes]).toEqual([0, 0]);
  });

  it('a failed load is told to all who waited, and tried again by the next', async () => {
    const cache = cacheOf(1000);
    const failing = () => Promise.reject(new Error('down'));
    const both = await Promise.allSettled([cache.get('a', failing), cache.get('a', failing)]);
    expect(both.map((result) => result.status)).toEqual(['rejected', 'rejected']);
    expect(await cache.get('a', () => Promise.resolve('up'))).toBe('up');
  });
});

import { describe, expect, it } from 'vitest';
import { testConfig } from './config.ts';
import { randomFrom } from './seeded-random.ts';

describe('randomFrom', () => {
  it('gives the same run for the same seed, and another for another', () => {
    const run = (seed: number): number[] => {
      const random = randomFrom(seed);
      return Array.from({ length: 20 }, () => random.int(0, 1_000_000));
    };
    expect(run(7)).toEqual(run(7));
    expect(run(7)).not.toEqual(run(8));
  });

  it('reaches both ends of a range and stays inside', () => {
    const random = randomFrom(1);
    const seen = new Set(Array.from({ length: 1_000 }, () => random.int(-2, 3)));
    expect([...seen].sort((a, b) => a - b)).toEqual([-2, -1, 0, 1, 2, 3]);
  });

  it('shuffles without losing or inventing items, and puts every item everywhere', () => {
    const random = randomFrom(2);
    const firsts = new Set<number>();
    for (let round = 0; round < 200; round += 1) {
      const shuffled = random.shuffle([1, 2, 3, 4]);
      expect(new Set(shuffled)).toEqual(new Set([1, 2, 3, 4]));
      expect(shuffled).toHaveLength(4);
      firsts.add(shuffled[0] ?? 0);
    }
    expect(firsts.size).toBe(4);
  });

  it('refuses to pick from nothing', () => {
    expect(() => randomFrom(1).pick([])).toThrow(RangeError);
  });
});

describe('testConfig', () => {
  it('takes the seed from the environment, also when it is a word', () => {
    expect(testConfig({ SLUICE_SEED: '42' }).seed).toBe(42);
    expect(testConfig({ SLUICE_SEED: 'abc' }).seed).toBe(testConfig({ SLUICE_SEED: 'abc' }).seed);
    expect(testConfig({ SLUICE_SEED: 'abc' }).seed).not.toBe(testConfig({ SLUICE_SEED: 'abd' }).seed);
    expect(testConfig({}).seed).toBeUndefined();
  });
});

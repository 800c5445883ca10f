import { randomBytes } from 'node:crypto';
import { testConfig } from './config.ts';

/** A repeatable source of choices: the same seed gives the same run. */
export interface SeededRandom {
  readonly seed: number;
  /** In [0, 1). */
  next(): number;
  /** A whole number from `min` to `max`, both included. */
  int(min: number, max: number): number;
  /** True with the given probability. */
  chance(probability: number): boolean;
  /** One of a list that must not be empty. */
  pick<T>(items: readonly T[]): T;
  /** A new list of the same items in another order. */
  shuffle<T>(items: readonly T[]): T[];
  bytes(length: number): Uint8Array;
}

/**
 * Prints the seed that it uses, so that a failure can be replayed with `SLUICE_SEED=<seed>`, which wins over `seed`.
 */
export function seededRandom(seed?: number): SeededRandom {
  const chosen = (testConfig().seed ?? seed ?? randomBytes(4).readUInt32LE(0)) >>> 0;
  process.stdout.write(`SLUICE_SEED=${chosen}\n`);
  return randomFrom(chosen);
}

/** The generator alone (mulberry32): 2^32 states, small and quick, far from secret. */
export function randomFrom(seed: number): SeededRandom {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const int = (min: number, max: number): number => {
    if (!Number.isInteger(min) || !Number.isInteger(max) || max < min) throw new RangeError(`int(${min}, ${max})`);
    return min + Math.floor(next() * (max - min + 1));
  };
  return {
    seed: seed >>> 0,
    next,
    int,
    chance: (probability) => next() < probability,
    pick: (items) => {
      if (items.length === 0) throw new RangeError('pick from nothing');
      return items[int(0, items.length - 1)] as (typeof items)[number];
    },
    shuffle: (items) => {
      const left = [...items];
      return items.map(() => left.splice(int(0, left.length - 1), 1)[0] as (typeof items)[number]);
    },
    bytes: (length) => Uint8Array.from({ length }, () => int(0, 255)),
  };
}

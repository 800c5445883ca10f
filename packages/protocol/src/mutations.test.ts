import { ByteReader, ByteWriter, type CellValue, readCell, writeCell } from '@sluice/domain';
import { describe, expect, it } from 'vitest';
import { decodeMutations, encodeMutations, type Mutation } from './mutations.ts';
import { sampleMutations } from './samples.fixture.ts';

const cells = (...values: readonly CellValue[]): Uint8Array => {
  const out = new ByteWriter(32);
  for (const value of values) writeCell(out, value);
  return out.take();
};

describe('mutations', () => {
  it('come back as they were, each value to the bit', () => {
    const mutations = decodeMutations(sampleMutations());
    expect(mutations.map(({ kind }) => kind)).toEqual(['insert', 'update', 'delete', 'upsert']);
    const [, , removed] = mutations as [Mutation, Mutation, Mutation];
    const key = new ByteReader(removed.key);
    expect([readCell(key), readCell(key), key.remaining]).toEqual(['a', 2n ** 60n, 0]);
    expect(removed.columns).toEqual([{ column: 'body', value: undefined, previous: cells(null) }]);
    expect(encodeMutations(mutations)).toEqual(sampleMutations());
  });

  it('that are cut short, or name what there is not, are refused', () => {
    const whole = sampleMutations();
    for (let end = 1; end < whole.length; end++) {
      let count = -1;
      try {
        count = decodeMutations(whole.subarray(0, end)).length;
      } catch (error) {
        expect((error as Error).name).toBe('MalformedBytesError');
      }
      // What ends between two mutations is a shorter payload.
      if (count >= 0) expect(count).toBeLessThan(4);
    }
    for (const [at, byte] of [
      [0, 9],
      [6, 0],
    ] as const) {
      const broken = whole.slice();
      broken[at] = byte;
      expect(() => decodeMutations(broken)).toThrow(/unknown|impossible/);
    }
  });
});

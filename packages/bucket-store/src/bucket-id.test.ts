import type { StreamNo } from '@sluice/domain';
import { expect, test } from 'vitest';
import { bucketIdOf, lookupIdOf } from './bucket-id.ts';

const stream = 7 as StreamNo;

test('ids are part of the stored form: these never change', () => {
  expect(bucketIdOf(stream, 0, '')).toBe('40168aefdd79d4c82204b41de3db6bde');
  expect(lookupIdOf(stream, 1, 'k\u00ff\u0000')).toBe('9bfed0c0a0bd3893919480f04045e9d7');
});

test('L13: stream, disjunct, kind and key all tell ids apart', () => {
  const ids = [
    bucketIdOf(stream, 0, 'k'),
    bucketIdOf(stream, 1, 'k'),
    bucketIdOf(8 as StreamNo, 0, 'k'),
    bucketIdOf(stream, 0, 'k\u0000'),
    lookupIdOf(stream, 0, 'k'),
  ];
  expect(new Set(ids).size).toBe(ids.length);
  expect(ids.every((id) => /^[0-9a-f]{32}$/.test(id))).toBe(true);
});

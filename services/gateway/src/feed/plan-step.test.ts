import type { BucketId, StreamNo } from '@sluice/domain';
import { describe, expect, it } from 'vitest';
import { planStep, type StepInput } from './plan-step.ts';

const none: ReadonlySet<never> = new Set<never>();
const buckets = (ids: string) => new Map(ids.split('').map((id) => [id as BucketId, (id === 'z' ? 2 : 1) as StreamNo]));
const some = (ids: string) => new Set(ids.split('') as BucketId[]);
const input = (fields: Partial<StepInput>): StepInput => ({
  held: buckets('ab'),
  unproven: none,
  wanted: buckets('ab'),
  broken: none,
  truncated: none,
  changed: none,
  ...fields,
});

describe('the diff of one checkpoint', () => {
  const cases: { name: string; given: Partial<StepInput>; drop?: string; replace?: string; extend?: string }[] = [
    { name: 'nothing changed', given: {} },
    { name: 'a held bucket changed', given: { changed: some('b') }, extend: 'b' },
    { name: 'a change elsewhere', given: { changed: some('x') } },
    { name: 'unknown what changed: all that is held', given: { changed: undefined }, extend: 'ab' },
    { name: 'a bucket was granted', given: { wanted: buckets('abc'), changed: some('c') }, replace: 'c' },
    { name: 'a bucket was revoked', given: { wanted: buckets('a'), changed: some('b') }, drop: 'b' },
    { name: 'a grant was broken', given: { broken: some('a'), changed: some('ab') }, replace: 'a', extend: 'b' },
    { name: 'a broken grant of what is not wanted', given: { broken: some('x') } },
    {
      name: 'a table was truncated',
      given: { held: buckets('az'), wanted: buckets('az'), truncated: new Set([2 as StreamNo]), changed: undefined },
      replace: 'z',
      extend: 'a',
    },
    { name: 'claimed without right, and wanted', given: { unproven: some('c'), wanted: buckets('abc') }, replace: 'c' },
    { name: 'claimed without right, and not wanted', given: { unproven: some('c') }, drop: 'c' },
    { name: 'a client that holds nothing', given: { held: buckets('') }, replace: 'ab' },
  ];
  it.each(cases)('L13: $name', ({ given, drop = '', replace = '', extend = '' }) => {
    expect(planStep(input(given))).toEqual({
      drop: drop.split(''),
      replace: replace.split(''),
      extend: extend.split(''),
    });
  });
});

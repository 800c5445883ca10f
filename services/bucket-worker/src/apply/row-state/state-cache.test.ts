import type { Lsn, StreamNo } from '@sluice/domain';
import { expect, test } from 'vitest';
import type { HeldState, StateChanges } from './frame-states.ts';
import { StateCache } from './state-cache.ts';

const state = (bytes: number): HeldState => ({
  ...{ kind: 'row', lsn: 1n as Lsn, seq: 0, since: 1n as Lsn },
  ...{ origin: undefined, image: new Uint8Array(bytes) },
});
const changes = (changed: ReadonlyMap<string, HeldState | undefined>, isTruncated = false): StateChanges =>
  new Map([['t', { stream: 1 as StreamNo, set: undefined, isTruncated, changed: new Map(changed) }]]);

test('L16: what was used longest ago goes first, and the bound in bytes holds', () => {
  const cache = new StateCache(3000);
  for (const key of ['a', 'b']) cache.set('t', key, state(1000));
  expect(cache.get('t', 'a')).toBeDefined();
  cache.set('t', 'c', state(1000));
  expect(['a', 'b', 'c'].map((key) => cache.get('t', key) !== undefined)).toEqual([true, false, true]);
  cache.set('t', 'd', state(5000));
  expect(['a', 'b', 'c', 'd'].map((key) => cache.get('t', key) !== undefined)).toEqual([false, false, false, false]);
});

test('L3: it holds what the store holds: writes, erased states, TRUNCATE', () => {
  const cache = new StateCache(1 << 20);
  const image = Uint8Array.of(1, 2);
  cache.apply(
    changes(
      new Map([
        ['a', { ...state(0), image }],
        ['b', state(1)],
      ]),
    ),
  );
  // The frame's buffer is used again.
  image.fill(0);
  expect(cache.get('t', 'a')?.image).toEqual(Uint8Array.of(1, 2));
  cache.apply(changes(new Map([['a', undefined]])));
  expect(cache.get('t', 'a')).toBeUndefined();
  cache.apply(changes(new Map([['c', state(1)]]), true));
  expect(['b', 'c'].map((key) => cache.get('t', key) !== undefined)).toEqual([false, true]);
  cache.clear();
  expect(cache.get('t', 'c')).toBeUndefined();
});

test('changes of a large frame drive nothing out, and leave nothing stale', () => {
  const cache = new StateCache(1 << 20);
  cache.set('t', 'a', state(1));
  cache.set('t', 'k7', state(1));
  cache.apply(changes(new Map(Array.from({ length: 2000 }, (_, i) => [`k${i}`, state(1)]))));
  expect(cache.get('t', 'a')).toBeDefined();
  expect(cache.get('t', 'k7')).toBeUndefined();
});

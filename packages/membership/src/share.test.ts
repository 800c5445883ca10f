import { expect, test } from 'vitest';
import type { Member } from './port.ts';
import { inOrderOf, shareOf } from './share.ts';

const member = (id: string, held: number, isLeaving = false): Member => ({
  id,
  isLeaving,
  held: Array.from({ length: held }, (_, i) => `${id}-${i}`),
});

test('shares add up to everything, and differ by one at most, whoever holds how much now', () => {
  for (let members = 1; members <= 5; members++) {
    for (let items = 0; items <= 12; items++) {
      const all = Array.from({ length: members }, (_, i) => member(`m${i}`, (i * 7) % 5));
      const shares = all.map(({ id }) => shareOf(id, all, items));
      expect(shares.reduce((sum, share) => sum + share, 0)).toBe(items);
      expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(1);
    }
  }
});

test('the odd one stays where most is held, so that an even spread moves nothing', () => {
  const members = [member('a', 1), member('b', 2)];
  expect([shareOf('a', members, 3), shareOf('b', members, 3)]).toEqual([1, 2]);
});

test('who is leaving has no share, and others count without it', () => {
  const members = [member('a', 2), member('b', 2, true)];
  expect([shareOf('a', members, 4), shareOf('b', members, 4)]).toEqual([4, 0]);
  expect(shareOf('unknown', members, 4)).toBe(0);
});

test('members try for free items in orders of their own', () => {
  const items = Array.from({ length: 40 }, (_, i) => `${i}`);
  const firsts = new Set(Array.from({ length: 8 }, (_, i) => inOrderOf(`member-${i}`, items)[0]));
  expect(inOrderOf('a', items).toSorted()).toEqual(items.toSorted());
  expect(firsts.size).toBeGreaterThan(4);
});

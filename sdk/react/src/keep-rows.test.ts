import type { QueryRow } from '@sluice/client';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { listKey } from './cell-key.ts';
import { keepRows } from './keep-rows.ts';

const a: QueryRow = { id: 1, title: 'a', body: Uint8Array.of(1, 2) };
const b: QueryRow = { id: 2, title: 'b', body: null };
const c: QueryRow = { id: 3, title: 'c', body: null };
const copyOf = (row: QueryRow): QueryRow => ({ ...row, ...(row.body ? { body: Uint8Array.of(1, 2) } : {}) });

describe('rows of a result after another', () => {
  test('an equal result is the same list', () => {
    const rows = [a, b, c];
    expect(keepRows(rows, rows.map(copyOf))).toBe(rows);
    const none: QueryRow[] = [];
    expect(keepRows(none, [])).toBe(none);
  });

  test('a changed row is a new object, and every other one stays, also where rows moved, came or went', () => {
    const changed = { ...b, title: 'B' };
    const came = { id: 4, title: 'd', body: null };
    const kept = keepRows([a, b, c], [came, copyOf(c), changed, copyOf(a)]);
    expect(kept).toEqual([came, c, changed, a]);
    expect(kept[1]).toBe(c);
    expect(kept[2]).toBe(changed);
    expect(kept[3]).toBe(a);
  });

  test('values that JavaScript could take for each other are different rows', () => {
    const values = [1, 1n, '1', null, 'null', -0, 0, Uint8Array.of(49), 'blob:49'];
    for (const [i, value] of values.entries())
      for (const [j, other] of values.entries()) {
        const next = { value: other };
        const [row] = keepRows([{ value }, { value: 'end' }], [next]);
        expect(row === next, `${i} ${j}`).toBe(i !== j);
      }
    expect(listKey(['a","b'])).not.toBe(listKey(['a', 'b']));
    expect(keepRows([{ x: 1 }], [{ y: 1 }])).toEqual([{ y: 1 }]);
  });

  test('whatever the lists, the content is that of the new one, and no old object is given twice', () => {
    const row = fc.record({ id: fc.integer({ min: 0, max: 3 }), text: fc.constantFrom('x', 'y') });
    fc.assert(
      fc.property(fc.array(row, { maxLength: 8 }), fc.array(row, { maxLength: 8 }), (previous, next) => {
        const kept = keepRows(previous, next);
        expect(kept).toEqual(next);
        expect(new Set(kept).size).toBe(kept.length);
        const left = previous.map((old) => listKey(Object.values(old)));
        const reusable = next.filter((one) => {
          const at = left.indexOf(listKey(Object.values(one)));
          if (at >= 0) left.splice(at, 1);
          return at >= 0;
        });
        expect(kept.filter((one) => (previous as QueryRow[]).includes(one))).toHaveLength(reusable.length);
      }),
    );
  });
});

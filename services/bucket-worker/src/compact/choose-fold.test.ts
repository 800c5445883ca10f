import type { ChunkOutline } from '@sluice/bucket-store';
import { expect, test } from 'vitest';
import { chooseFold } from './choose-fold.ts';

const outline = (ops: number, rowsDelta = 0): ChunkOutline => ({ ops, rowsDelta }) as ChunkOutline;
const opsOf = (chunks: readonly ChunkOutline[]) => chunks.map((chunk) => chunk.ops);
const chosen = (...ops: number[]) =>
  opsOf(
    chooseFold(
      ops.map((count) => outline(count)),
      false,
    ),
  );

test('neighbours of like sizes are folded, a large base is left until as much has gathered', () => {
  expect(chosen(1, 1)).toEqual([1, 1]);
  expect(chosen(1000, 1)).toEqual([]);
  expect(chosen(1000, 1, 1, 2)).toEqual([1, 1, 2]);
  expect(chosen(1000, 300, 300)).toEqual([1000, 300, 300]);
});

test('a run is found wherever it is, also behind a small newest chunk', () => {
  expect(chosen(20, 5, 5, 5, 1)).toEqual([20, 5, 5, 5]);
  expect(chosen(9, 1)).toEqual([]);
});

test('however a bucket grows, its chunks stay few', () => {
  let chunks: number[] = [];
  for (let i = 0; i < 2000; i++) {
    chunks.push(1 + (i % 7));
    const run = chosen(...chunks);
    if (run.length === 0) continue;
    const at = chunks.findIndex((_, from) => run.every((ops, j) => chunks[from + j] === ops));
    chunks = [...chunks.slice(0, at), run.reduce((a, b) => a + b), ...chunks.slice(at + run.length)];
  }
  expect(chunks.length).toBeLessThan(16);
});

test('a thorough pass takes the whole bucket when it holds anything but live rows, else nothing', () => {
  const garbage = [outline(100, 100), outline(1, 0)];
  expect(chooseFold(garbage, true)).toBe(garbage);
  expect(chooseFold([outline(100, 100), outline(1, 1)], true)).toEqual([]);
  expect(opsOf(chooseFold([outline(1, 0)], true))).toEqual([1]);
});

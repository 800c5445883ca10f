import { parseProjectId } from '@sluice/domain';
import { expect, it } from 'vitest';
import { ranked } from './ranked.ts';

const projects = Array.from({ length: 300 }, (_, i) => parseProjectId(i + 1));
const firsts = (writers: readonly string[]): (string | undefined)[] =>
  projects.map((project) => ranked(writers, project)[0]);

it('all agree whatever the order in which they heard of the writers, and each writer has its share', () => {
  expect(firsts(['a', 'b', 'c'])).toEqual(firsts(['c', 'a', 'b']));
  for (const writer of ['a', 'b', 'c'])
    expect(firsts(['a', 'b', 'c']).filter((one) => one === writer).length).toBeGreaterThan(60);
});

it('a writer that goes moves only what it had', () => {
  const before = firsts(['a', 'b', 'c']);
  const after = firsts(['a', 'c']);
  for (const [i, writer] of before.entries()) if (writer !== 'b') expect(after[i]).toBe(writer);
});

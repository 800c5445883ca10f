import { expect, test } from 'vitest';
import { Outbox } from './outbox.ts';

test('L16: what a page does not handle is replaced by what is newer, for each subject by itself', () => {
  const posted: string[] = [];
  const outbox = new Outbox<string>((message) => posted.push(message));
  for (let i = 1; i <= 100; i++) outbox.send(1, `a${i}`);
  outbox.send(2, 'b1');
  expect(posted).toEqual(['a1', 'a2', 'a3', 'a4', 'a5', 'a6', 'a7', 'a8', 'b1']);
  outbox.seen(1);
  expect(posted.at(-1)).toBe('a100');
  outbox.seen(1);
  outbox.send(1, 'a101');
  expect(posted.slice(-2)).toEqual(['a100', 'a101']);
});

test('what was handled before this leader, or is no subject any more, counts for nothing', () => {
  const posted: number[] = [];
  const outbox = new Outbox<number>((message) => posted.push(message));
  for (let i = 0; i < 50; i++) outbox.seen(1);
  for (let i = 1; i <= 20; i++) outbox.send(1, i);
  expect(posted).toHaveLength(8);
  outbox.forget(1);
  outbox.seen(1);
  expect(posted).toHaveLength(8);
  outbox.send(1, 21);
  expect(posted.at(-1)).toBe(21);
});

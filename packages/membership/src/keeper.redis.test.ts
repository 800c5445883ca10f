import { delay } from '@sluice/domain';
import { systemClock } from '@sluice/telemetry';
import { type FreshRedis, freshRedis, waitFor } from '@sluice/testkit';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { Keeper } from './keeper.ts';
import { createRedisMembership } from './redis-membership.ts';

const TIMINGS = { beatMs: 50, itemsEveryMs: 200, settleMs: 200, restMs: 100 };
const TTL_MS = 400;

let redis: FreshRedis;
let items: string[] = [];
/** Who has each item's lease: what the store does for real items. */
const holderByItem = new Map<string, string>();
let moves = 0;
let groups = 0;
const started: TestProcess[] = [];

beforeAll(async () => {
  redis = await freshRedis();
});
afterEach(async () => {
  await Promise.all(started.splice(0).map((process) => process.stop()));
  holderByItem.clear();
});
afterAll(async () => await redis[Symbol.asyncDispose]());

interface TestProcess {
  readonly keeper: Keeper;
  stop(): Promise<void>;
}

function start(id: string): TestProcess {
  const controller = new AbortController();
  const clock = systemClock;
  const options = { url: redis.url, group: `test-${groups}`, id, ttlMs: TTL_MS, clock, onError: () => {} };
  const keeper = new Keeper({
    membership: createRedisMembership(options),
    clock,
    items: async () => items,
    async run(item, onHeld, signal) {
      while (holderByItem.has(item) && !signal.aborted) await delay(clock, 10, signal);
      if (signal.aborted) return;
      holderByItem.set(item, id);
      moves++;
      onHeld(true);
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      holderByItem.delete(item);
      onHeld(false);
    },
    events: { membersUnknown() {}, itemsUnknown() {}, failed() {}, givenUp() {} },
    timings: TIMINGS,
  });
  const ended = keeper.run(controller.signal);
  const process = {
    keeper,
    async stop() {
      controller.abort();
      await ended;
    },
  };
  started.push(process);
  return process;
}

const named = (count: number): string[] => Array.from({ length: count }, (_, i) => `item-${i}`);
const spread = (...processes: readonly TestProcess[]): number[] =>
  processes.map(({ keeper }) => keeper.held.length).toSorted((a, b) => a - b);
const spreadIs = (expected: readonly number[], ...processes: readonly TestProcess[]): Promise<unknown> =>
  waitFor(() => JSON.stringify(spread(...processes)) === JSON.stringify(expected), {
    what: `${expected.join()} to be held, not ${spread(...processes).join()}`,
    timeoutMs: 10_000,
  });

test('everything is held once, spread evenly, as processes come and go; then nothing moves any more', async () => {
  groups++;
  items = named(7);
  const first = start('a');
  await spreadIs([7], first);
  const second = start('b');
  await spreadIs([3, 4], first, second);
  const third = start('c');
  await spreadIs([2, 2, 3], first, second, third);
  await second.stop();
  await spreadIs([3, 4], first, third);
  const settled = moves;
  await delay(systemClock, TIMINGS.settleMs * 3);
  expect(moves).toBe(settled);
  items = named(8);
  await spreadIs([4, 4], first, third);
  expect(moves).toBe(settled + 1);
});

test('what a process held that stops in order is held by another a moment later', async () => {
  groups++;
  items = named(4);
  const first = start('a');
  const second = start('b');
  await spreadIs([2, 2], first, second);
  await second.stop();
  await spreadIs([4], first);
});

test('work that needs an item keeps it from moving, is refused where another holds it, and hears of its end', async () => {
  groups++;
  items = named(1);
  const first = start('a');
  await spreadIs([1], first);
  const second = start('b');
  const signal = new AbortController().signal;
  let heard = false;
  const work = first.keeper.whileHeld(
    'item-0',
    async (lost) => {
      await new Promise((resolve) => lost.addEventListener('abort', resolve));
      heard = true;
    },
    signal,
  );
  await waitFor(async () => (await second.keeper.whileHeld('item-0', async () => {}, signal)).kind === 'elsewhere', {
    what: 'the second to know of the first',
  });
  await first.stop();
  await work;
  expect(heard).toBe(true);
  const worked = (): Promise<unknown> => second.keeper.whileHeld('item-0', async () => 'worked', signal);
  await waitFor(async () => ((await worked()) as { value?: string }).value === 'worked', {
    what: 'work in the second',
  });
});

test('a Redis that is gone for a while changes nothing; a Redis that forgot everything neither', async () => {
  groups++;
  items = named(4);
  const first = start('a');
  const second = start('b');
  await spreadIs([2, 2], first, second);
  const before = new Map(holderByItem);
  await redis.kill();
  await delay(systemClock, TTL_MS);
  await redis.restart();
  await waitFor(() => first.keeper.notReady === undefined && second.keeper.notReady === undefined, {
    what: 'both to beat',
  });
  await delay(systemClock, TIMINGS.settleMs * 3);
  expect(holderByItem).toEqual(before);
});

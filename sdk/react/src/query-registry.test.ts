import { createClient, type SluiceClient } from '@sluice/node';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { QueryRegistry } from './query-registry.ts';
import { LINGER_MS } from './shared-query.ts';

let client: SluiceClient;
beforeEach(async () => {
  client = await createClient({ url: 'ws://127.0.0.1:1', project: 'demo', auth: () => 'jwt' });
});
afterEach(() => client.close());

/** Timers that run when the test says so. */
function timers(): { setTimer: (delayMs: number, fn: () => void) => () => void; elapse: () => void } {
  const set = new Set<() => void>();
  return {
    setTimer: (delayMs, fn) => {
      expect(delayMs).toBe(LINGER_MS);
      set.add(fn);
      return () => set.delete(fn);
    },
    elapse: () => {
      for (const fn of [...set]) {
        set.delete(fn);
        fn();
      }
    },
  };
}

test('a query that nobody watches any more ends and forgets what it showed; one who kept it may begin again', async () => {
  const { setTimer, elapse } = timers();
  const registry = new QueryRegistry(client, setTimer);
  const query = registry.get('SELECT 1', []);
  // It is over before its first result: a failure like any other.
  await client.close();
  const unsubscribe = query.subscribe(() => undefined);
  await query.loaded();
  expect(query.getResult()).toMatchObject({ isLoading: false, error: { code: 'CLIENT_CLOSED' } });
  elapse();
  expect(registry.size).toBe(1);
  unsubscribe();
  elapse();
  expect(query.getResult()).toMatchObject({ isLoading: true, error: undefined });
  expect(registry.size).toBe(0);
  query.start();
  expect(query.getResult().error?.code).toBe('CLIENT_CLOSED');
  expect(registry.get('SELECT 1', [])).toBe(query);
});

test('a query whose first result somebody waits for goes on, however long that takes', async () => {
  const { setTimer, elapse } = timers();
  const registry = new QueryRegistry(client, setTimer);
  const query = registry.get('SELECT 1', []);
  const loaded = query.loaded();
  elapse();
  expect(registry.size).toBe(1);
  expect(query.loaded()).toBe(loaded);
  await client.close();
  await loaded;
  expect(query.getResult().error?.code).toBe('CLIENT_CLOSED');
  elapse();
  expect(registry.size).toBe(0);
});

test('L16: queries that nobody watches are bounded, and the oldest of them goes first', () => {
  const { setTimer, elapse } = timers();
  const registry = new QueryRegistry(client, setTimer);
  const watched = registry.get('SELECT 0', []);
  const unsubscribe = watched.subscribe(() => undefined);
  const first = registry.get('SELECT ?', [1]);
  for (let n = 2; n < 1500; n++) registry.get('SELECT ?', [n]);
  expect(registry.size).toBe(1000);
  expect(registry.get('SELECT 0', [])).toBe(watched);
  expect(registry.get('SELECT ?', [1])).not.toBe(first);
  unsubscribe();
  elapse();
  expect(registry.size).toBe(0);
});

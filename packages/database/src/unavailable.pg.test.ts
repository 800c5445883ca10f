import { type FreshCluster, freshCluster, manualClock, tcpProxy, waitFor } from '@sluice/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Database, migrate, openDatabase } from './index.ts';

const CALLERS = 4;
let cluster: FreshCluster;
let db: Database;

beforeAll(async () => {
  cluster = await freshCluster();
  await migrate({ url: cluster.url });
  db = openDatabase({ url: cluster.url, clock: manualClock(), connectionsMax: CALLERS });
}, 60_000);
afterAll(async () => {
  await db.close();
  await cluster[Symbol.asyncDispose]();
});

test('whatever is asked of a server that dies and starts again fails with a code that says to ask again, or works', async () => {
  const { id } = await db.projects.create('shop');
  const calls = [
    () => db.ping(),
    () => db.projects.list({ afterRef: undefined, limit: 10 }),
    () => db.projects.create('another'),
    () => db.rules.create(id, { yaml: 'streams: {}', plan: { streams: [] }, diagnostics: [] }),
  ];
  const errors: unknown[] = [];
  let isOver = false;
  const asking = Array.from({ length: CALLERS }, async (_, i) => {
    while (!isOver) await calls[i % calls.length]?.().catch((error: unknown) => errors.push(error));
  });
  await cluster.kill();
  await waitFor(() => errors.length >= CALLERS, { what: 'calls to fail' });
  await cluster.restart();
  await waitFor(() => db.ping().then(() => true), { what: 'the server to answer' });
  isOver = true;
  await Promise.all(asking);
  expect(errors.filter((error) => (error as { code?: unknown }).code !== 'API_UNAVAILABLE')).toEqual([]);
});

test('whatever is asked over a link that is cut at any byte fails with a code that says to ask again, or works', async () => {
  await using proxy = await tcpProxy({ port: cluster.port });
  const url = new URL(cluster.url);
  url.port = String(proxy.port);
  const errors: unknown[] = [];
  for (const direction of ['toClient', 'toTarget'] as const) {
    for (let at = 0; at < 700; at += 31) {
      const cut = openDatabase({ url: url.href, clock: manualClock(), connectionsMax: 2 });
      proxy.cutAfter(direction, at);
      const calls = [cut.ping(), cut.projects.list({ afterRef: undefined, limit: 10 }), cut.ping()];
      for (const { status, ...rest } of await Promise.allSettled(calls))
        if (status === 'rejected') errors.push((rest as { reason: unknown }).reason);
      proxy.heal();
      // A connection of the pool may be one that was lost.
      await cut.ping().catch((error: unknown) => errors.push(error));
      await cut.close();
    }
  }
  expect(errors.length).toBeGreaterThan(20);
  expect(errors.filter((error) => (error as { code?: unknown }).code !== 'API_UNAVAILABLE')).toEqual([]);
});

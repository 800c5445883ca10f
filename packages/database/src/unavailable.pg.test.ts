import { type FreshCluster, freshCluster, manualClock, waitFor } from '@sluice/testkit';
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

import { parseProjectId } from '@sluice/domain';
import { freshDatabase } from '@sluice/testkit';
import { expect, it } from 'vitest';
import { migrateBucketStore } from '../sql/migrate.ts';
import { Database } from './database.ts';
import { createPostgresBucketStore } from './postgres-bucket-store.ts';

it('L3: a process that halts in the middle of a transaction does not keep its successor from the lease', async () => {
  await using server = await freshDatabase('halted');
  await migrateBucketStore(server.url);
  const project = parseProjectId(1);
  const store = createPostgresBucketStore({ url: server.url, poolMax: 2 });
  const halted = new Database({ url: server.url, poolMax: 1 });
  await store.acquireLease(project, 'halted', 1);
  let goOn = (): void => {};
  const isOver = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  let isHalted = (): void => {};
  const hasHalted = new Promise<void>((resolve) => {
    isHalted = resolve;
  });
  const renewal = halted
    .transaction(project, async (client) => {
      await client.query({
        text: 'update sluice_store.project set erased = erased where project = $1',
        values: [project],
      });
      isHalted();
      await isOver;
      await client.query('select 1');
    })
    .catch((error: unknown) => error);
  await hasHalted;
  const begunMs = performance.now();
  expect(await store.acquireLease(project, 'successor', 5_000)).toBeDefined();
  expect(performance.now() - begunMs).toBeLessThan(10_000);
  goOn();
  expect(await renewal).toMatchObject({ code: 'STORE_UNAVAILABLE' });
  await halted.close();
  await store.close();
});

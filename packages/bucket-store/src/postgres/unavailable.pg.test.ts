import { barrierAt, comparePositions, type ProjectId } from '@sluice/domain';
import { type FreshDatabase, freshDatabase, type TcpProxy, tcpProxy, waitFor } from '@sluice/testkit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { BucketStore } from '../port.ts';
import { migrateBucketStore } from '../sql/migrate.ts';
import { chunk, lsn, StoreDriver } from '../testing/store-driver.ts';
import { createPostgresBucketStore } from './postgres-bucket-store.ts';

const unavailable = { code: 'STORE_UNAVAILABLE' };

describe('a store that cannot be reached', () => {
  let database: FreshDatabase;
  let proxy: TcpProxy;
  let direct: BucketStore;
  let store: BucketStore;

  beforeAll(async () => {
    database = await freshDatabase('unavailable');
    await migrateBucketStore(database.url);
    const url = new URL(database.url);
    proxy = await tcpProxy({ port: Number(url.port) });
    url.port = String(proxy.port);
    direct = createPostgresBucketStore({ url: database.url, poolMax: 2 });
    store = createPostgresBucketStore({ url: url.href, poolMax: 2 });
  });
  afterAll(async () => {
    await store.close();
    await direct.close();
    await proxy[Symbol.asyncDispose]();
    await database[Symbol.asyncDispose]();
  });

  test('every kind of call says that it may be repeated, and works when the store is back', async () => {
    const project = 1 as ProjectId;
    const driver = new StoreDriver(store, project);
    const stream = await driver.serve();
    proxy.refuse();
    proxy.cut();
    const calls: (() => Promise<unknown>)[] = [
      () => store.readSource(project),
      () => store.acquireLease(project, 'driver', 1000),
      () => store.eraseDropped(project, 1),
      () => store.readChunks(project, { buckets: [], after: lsn(0), through: lsn(1), bytesMax: 1, cursor: undefined }),
      () => store.applyFrame(driver.commit(110)),
    ];
    for (const call of calls) await expect(call()).rejects.toMatchObject(unavailable);
    proxy.heal();
    expect((await driver.barrier(110, { chunks: [chunk(stream, 1, 'back')] })).kind).toBe('applied');
    expect(await driver.read(stream, [1], { through: 110 })).toEqual(['back']);
  });

  test('a link that is lost in the middle of a transaction fails that call and not the process', async () => {
    const driver = new StoreDriver(store, 3 as ProjectId);
    await driver.serve();
    proxy.swallow('toClient');
    const before = proxy.bytes.toTarget;
    const taken = store.acquireLease(driver.project, 'driver', 1000).catch((error: unknown) => error);
    await waitFor(() => proxy.bytes.toTarget > before, { what: 'the transaction to begin' });
    proxy.cut();
    expect(await taken).toMatchObject(unavailable);
    proxy.heal();
    expect(await store.readSource(driver.project)).toBeDefined();
  });

  test('L3: a commit whose answer was lost on the way is skipped when it is repeated', async () => {
    const driver = new StoreDriver(store, 2 as ProjectId);
    const stream = await driver.serve();
    const commit = driver.commit(110, { chunks: [chunk(stream, 1, 'once')] });
    proxy.swallow('toClient');
    const outcome = store.applyFrame(commit).catch((error: unknown) => error);
    const isApplied = async (): Promise<boolean> => {
      const applied = (await direct.readSource(driver.project))?.serving?.shards[0]?.applied;
      return applied !== undefined && comparePositions(applied, barrierAt(lsn(110))) === 0;
    };
    await waitFor(isApplied, { what: 'the commit to be durable' });
    proxy.cut();
    expect(await outcome).toMatchObject(unavailable);
    proxy.heal();
    expect(await store.applyFrame(commit)).toEqual({ kind: 'skipped' });
    expect(await driver.read(stream, [1], { through: 110 })).toEqual(['once']);
  });
});

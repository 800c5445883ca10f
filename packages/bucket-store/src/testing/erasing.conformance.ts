import type { LeaseToken, StreamNo } from '@sluice/domain';
import { describe, expect, test } from 'vitest';
import type { SuiteContext } from './conformance.ts';
import { bucketId, chunk, lookupId, lsn, member, StoreDriver, truncate } from './store-driver.ts';

export function describeErasing(context: SuiteContext): void {
  const driverOf = (): StoreDriver => new StoreDriver(context.store(), context.project());
  const filled = (driver: StoreDriver, stream: StreamNo, at: number) =>
    driver.barrier(at, {
      chunks: [chunk(stream, 1, `${at} a`), chunk(stream, 2, `${at} b`)],
      memberships: [member(stream, { at: { lsn: lsn(at), seq: 1 }, row: 'r', value: 'v' })],
      truncates: [truncate(stream, at, 0)],
    });

  describe('erasing', () => {
    test('L17: a dropped stream is whole until a checkpoint without it is readable; then it is gone, and says so', async () => {
      const driver = driverOf();
      const old = await driver.serve();
      await filled(driver, old, 110);
      const fresh = await driver.add('fresh');
      const { store, project, token } = driver;
      await store.setBackfillPoint(project, token, [fresh], lsn(111));
      await driver.barrier(120);
      await driver.switchTo([fresh], [old]);
      expect(await store.eraseDropped(project, 1000)).toBe(true);
      expect(await driver.read(old, [1, 2], { through: 120 })).toEqual(['110 a', '110 b']);

      await driver.barrier(130, { chunks: [chunk(fresh, 1, 'kept')] });
      expect(await store.eraseDropped(project, 1)).toBe(false);
      const gone = { code: 'STORE_STREAM_GONE' };
      await expect(driver.read(old, [1], { through: 120 })).rejects.toMatchObject(gone);
      await expect(driver.members(old, 120)).rejects.toMatchObject(gone);
      const ref = { stream: old, bucket: bucketId(1) };
      await expect(store.readSums(project, [ref], lsn(120))).rejects.toMatchObject(gone);
      const lookup = { stream: old, membership: 0, lookup: lookupId(1) };
      await expect(store.readMembershipTouched(project, [lookup], lsn(0), lsn(120))).rejects.toMatchObject(gone);

      let calls = 0;
      while (!(await store.eraseDropped(project, 1))) expect(++calls).toBeLessThan(20);
      expect((await store.readStreams(project)).map(({ stream }) => stream)).toEqual([fresh]);
      expect(await driver.read(fresh, [1], { through: 130 })).toEqual(['kept']);
    });

    test('a retired epoch is erased once the new one has a checkpoint', async () => {
      const driver = driverOf();
      const old = await driver.serve();
      await filled(driver, old, 110);
      await driver.open(500);
      const fresh = await driver.add();
      const { store, project, token } = driver;
      await store.setBackfillPoint(project, token, [fresh], lsn(500));
      await driver.barrier(500);
      await driver.switchTo([fresh]);
      await store.eraseDropped(project, 1000);
      expect((await store.readStreams(project)).map(({ stream }) => stream)).toEqual([old, fresh]);
      await driver.barrier(510);
      expect(await store.eraseDropped(project, 1000)).toBe(true);
      expect((await store.readStreams(project)).map(({ stream }) => stream)).toEqual([fresh]);
    });

    test('an epoch that was given up while it was built is erased at once', async () => {
      const driver = driverOf();
      await driver.open(100);
      await driver.add();
      await driver.open(200);
      const kept = await driver.add();
      expect(await driver.store.eraseDropped(driver.project, 1000)).toBe(true);
      expect((await driver.store.readStreams(driver.project)).map(({ stream }) => stream)).toEqual([kept]);
    });

    test('L17: nothing is written to a stream of which some is erased, as if it were gone', async () => {
      const driver = driverOf();
      await driver.open(100);
      const stream = await driver.add();
      const { store, project } = driver;
      await store.setBackfillPoint(project, driver.token, [stream], lsn(100));
      await driver.barrier(110, { chunks: [chunk(stream, 1, 'a'), chunk(stream, 2, 'b')] });
      const epoch = driver.epoch;
      await driver.open(200);
      expect(await store.eraseDropped(project, 1)).toBe(false);
      const { token } = driver;
      const fenced = { code: 'STORE_FENCED' };
      const plan = { table: 'public.t', ranges: [{ lower: undefined, upper: undefined }] };
      await expect(store.setBackfillPoint(project, token, [stream], lsn(300))).rejects.toMatchObject(fenced);
      await expect(store.planCopy(project, token, [stream], plan)).rejects.toMatchObject(fenced);
      await expect(store.resumeCopy(project, token, [stream], lsn(300))).rejects.toMatchObject(fenced);
      const settlement = { stream, corrections: [], last: true };
      await expect(store.settleCopy(project, token, settlement)).rejects.toMatchObject(fenced);
      const change = { show: [stream], drop: [] };
      await expect(store.switchStreams(project, token, epoch, change)).rejects.toMatchObject(fenced);
    });

    test('an erased project has nothing, fences its holder, and never gives a number twice', async () => {
      const driver = driverOf();
      const stream = await driver.serve();
      await filled(driver, stream, 110);
      const { store, project, epoch, token } = driver;
      const commit = driver.commit(120);
      await store.eraseProject(project);
      expect(await store.readSource(project)).toBeUndefined();
      expect(await store.readStreams(project)).toEqual([]);
      expect(await store.readCheckpoint(project)).toBeUndefined();
      await expect(store.applyFrame(commit)).rejects.toMatchObject({ code: 'STORE_FENCED' });
      expect(await store.renewLease(project, token, 1000)).toBe(false);

      const again = new StoreDriver(store, project);
      expect(await again.serve()).toBeGreaterThan(stream);
      expect(again.epoch).toBeGreaterThan(epoch);
      expect(again.token).toBeGreaterThan(token as LeaseToken);
      expect(await again.read(again.streams[0] as StreamNo, [1, 2], { through: 1000 })).toEqual([]);
    });
  });
}

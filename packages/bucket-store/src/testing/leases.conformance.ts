import { barrierAt, type Epoch, type LeaseToken, type ProjectId, type StreamNo } from '@sluice/domain';
import { describe, expect, test } from 'vitest';
import type { SourceCondition } from '../port.ts';
import type { SuiteContext } from './conformance.ts';
import { identity, lsn, StoreDriver } from './store-driver.ts';

const condition: SourceCondition = { state: 'live', code: '', details: { lag: 3 }, rowsDone: 1, rowsEstimate: 2 };

export function describeLeases(context: SuiteContext): void {
  describe('leases', () => {
    test('L3: one holder at a time, and each taking gives a higher token', async () => {
      const { store, project } = { store: context.store(), project: context.project() };
      const first = await store.acquireLease(project, 'a', 60_000);
      expect(await store.acquireLease(project, 'b', 60_000)).toBeUndefined();
      const again = await store.acquireLease(project, 'a', 60_000);
      expect(again).toBeGreaterThan(first as LeaseToken);
      expect(await store.renewLease(project, first as LeaseToken, 60_000)).toBe(false);
      expect(await store.renewLease(project, again as LeaseToken, 60_000)).toBe(true);
      await store.releaseLease(project, first as LeaseToken);
      expect(await store.acquireLease(project, 'b', 60_000)).toBeUndefined();
      await store.releaseLease(project, again as LeaseToken);
      expect(await store.renewLease(project, again as LeaseToken, 60_000)).toBe(false);
      expect(await store.acquireLease(project, 'b', 60_000)).toBeGreaterThan(again as LeaseToken);
    });

    test('an expired lease is free; one that was renewed in time is not', async () => {
      const { store, project } = { store: context.store(), project: context.project() };
      const token = (await store.acquireLease(project, 'a', 50)) as LeaseToken;
      expect(await store.renewLease(project, token, 60_000)).toBe(true);
      await context.passMs(60);
      expect(await store.acquireLease(project, 'b', 60_000)).toBeUndefined();
      expect(await store.renewLease(project, token, 1)).toBe(true);
      await context.passMs(10);
      expect(await store.acquireLease(project, 'b', 60_000)).toBeGreaterThan(token);
    });

    test('L3: every write of a former holder is fenced and changes nothing', async () => {
      const driver = new StoreDriver(context.store(), context.project());
      const stream = await driver.serve();
      await driver.barrier(110);
      const { store, project, epoch, token: stale } = driver;
      driver.token = (await store.acquireLease(project, 'driver', 60_000)) as LeaseToken;
      const before = [await store.readSource(project), await store.readStreams(project)];
      const writes: (() => Promise<unknown>)[] = [
        () => store.openEpoch(project, stale, identity, barrierAt(lsn(1)), 1),
        () => store.setSourceState(project, stale, condition),
        () => store.addStreams(project, stale, epoch, [{ name: 'x', contentHash: 'x', plan: {} }], lsn(1)),
        () => store.setBackfillPoint(project, stale, [stream], lsn(200)),
        () => store.switchStreams(project, stale, epoch, { show: [], drop: [stream] }),
        () => store.holdCheckpoints(project, stale, epoch, true),
        () => store.applyFrame(driver.commit(120, { leaseToken: stale })),
        () => store.applySnapshotPart(driver.part(100, 0, { leaseToken: stale })),
      ];
      for (const write of writes) await expect(write()).rejects.toMatchObject({ code: 'STORE_FENCED' });
      expect([await store.readSource(project), await store.readStreams(project)]).toEqual(before);
      expect((await driver.barrier(120)).kind).toBe('applied');
    });

    test('a project that nobody has leased has nothing, and refuses every write', async () => {
      const { store, project } = { store: context.store(), project: context.project() };
      const driver = new StoreDriver(store, project);
      driver.epoch = 1 as Epoch;
      expect(await store.readSource(project)).toBeUndefined();
      expect(await store.readStreams(project)).toEqual([]);
      expect(await store.readCheckpoint(project)).toBeUndefined();
      expect(await store.renewLease(project, 0n as LeaseToken, 1)).toBe(false);
      await expect(store.applyFrame(driver.commit(120))).rejects.toMatchObject({ code: 'STORE_FENCED' });
      const part = driver.part(100, 0, { streams: [1 as StreamNo] });
      await expect(store.applySnapshotPart(part)).rejects.toMatchObject({ code: 'STORE_FENCED' });
      await expect(store.setSourceState(project, 0n as LeaseToken, condition)).rejects.toMatchObject({
        code: 'STORE_FENCED',
      });
    });

    test('what the holder says of the source is what everybody reads', async () => {
      const driver = new StoreDriver(context.store(), context.project());
      await driver.open();
      expect((await driver.store.readSource(driver.project))?.condition.state).toBe('loading');
      await driver.store.setSourceState(driver.project, driver.token, condition);
      const source = await driver.store.readSource(driver.project);
      expect(source?.condition).toEqual(condition);
      expect(source?.leaseToken).toBe(driver.token);
      expect(await driver.store.readSource((driver.project + 100_000) as ProjectId)).toBeUndefined();
    });
  });
}

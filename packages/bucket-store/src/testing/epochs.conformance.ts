import { barrierAt, type StreamNo } from '@sluice/domain';
import { InvariantError } from '@sluice/errors';
import { describe, expect, test } from 'vitest';
import type { SuiteContext } from './conformance.ts';
import { chunk, identity, lsn, StoreDriver } from './store-driver.ts';

export function describeEpochs(context: SuiteContext): void {
  const driverOf = (): StoreDriver => new StoreDriver(context.store(), context.project());

  describe('epochs and streams', () => {
    test('a new epoch is built, held, with its shards at the start', async () => {
      const driver = driverOf();
      await driver.open(100, 2);
      const source = await driver.store.readSource(driver.project);
      expect(source?.serving).toBeUndefined();
      expect(source?.building).toEqual({
        epoch: driver.epoch,
        identity,
        mapVersion: 1,
        rowKeys: {},
        held: true,
        checkpoint: undefined,
        shards: [0, 1].map((shard) => ({
          shard,
          applied: barrierAt(lsn(99)),
          barrier: { lsn: lsn(99), endLsn: lsn(99) },
          previousBarrierEndLsn: lsn(99),
        })),
      });
    });

    test('the serving epoch goes on until the switch; then the new one serves and the old one takes no frame', async () => {
      const driver = driverOf();
      const old = await driver.serve();
      await driver.barrier(110, { chunks: [chunk(old, 1, 'old')] });
      const [oldEpoch, oldCommit] = [driver.epoch, driver.commit(120)];
      const { store, project, token } = driver;
      driver.epoch = await store.openEpoch(project, token, identity, barrierAt(lsn(499)), 1);
      driver.applied = barrierAt(lsn(499));
      driver.streams = [];
      const fresh = await driver.add();
      expect(fresh).not.toBe(old);
      expect((await store.applyFrame(oldCommit)).kind).toBe('applied');
      expect(await store.readCheckpoint(project)).toMatchObject({ epoch: oldEpoch, lsn: lsn(120) });

      await store.setBackfillPoint(project, token, [fresh], lsn(500));
      await driver.barrier(505);
      await driver.switchTo([fresh]);
      expect((await store.readSource(project))?.serving?.epoch).toBe(driver.epoch);
      const late = {
        ...oldCommit,
        prev: barrierAt(lsn(120)),
        appliedBefore: barrierAt(lsn(120)),
        end: barrierAt(lsn(130)),
      };
      await expect(store.applyFrame(late)).rejects.toMatchObject({ code: 'STORE_FENCED' });
      await driver.barrier(510);
      expect(await store.readCheckpoint(project)).toEqual({ epoch: driver.epoch, lsn: lsn(510), committedAtMs: 510 });
    });

    test('opening an epoch gives up the one that was being built', async () => {
      const driver = driverOf();
      await driver.open(100);
      await driver.add();
      const abandoned = driver.commit(110);
      await driver.open(200);
      await expect(driver.store.applyFrame(abandoned)).rejects.toMatchObject({ code: 'STORE_FENCED' });
      expect((await driver.store.readSource(driver.project))?.building?.epoch).toBe(driver.epoch);
    });

    test('L11: stream numbers are never given twice, and plans come back as they were', async () => {
      const driver = driverOf();
      await driver.open();
      const plan = { version: 1, text: 'ü\u0000"', nested: [{ b: 1, a: null }] };
      const first = await driver.add('a', lsn(99), plan);
      const second = await driver.add('b');
      await driver.open(200);
      const third = await driver.add('a');
      expect(new Set([first, second, third]).size).toBe(3);
      const streams = await driver.store.readStreams(driver.project);
      expect(streams.map(({ stream, name }) => [stream, name])).toEqual([
        [first, 'a'],
        [second, 'b'],
        [third, 'a'],
      ]);
      expect(streams[0]).toMatchObject({ contentHash: 'hash of a', plan, activatedAt: lsn(99), loadedTables: [] });
      expect(streams[0]?.backfillPoint).toBeUndefined();
      expect(streams[0]?.visibleAfter).toBeUndefined();
    });

    test('L10: a stream is not shown before its copy is complete and everything up to its point is applied', async () => {
      const driver = driverOf();
      await driver.open(100);
      const plan = {
        sourceTable: { schema: 'public', name: 'items' },
        memberships: [{ table: { schema: 'public', name: 'members' } }],
      };
      const stream = await driver.add('items', lsn(99), plan);
      const { store, project, token } = driver;
      const show = (): Promise<void> => driver.switchTo([stream]);
      await expect(show()).rejects.toBeInstanceOf(InvariantError);
      await store.setBackfillPoint(project, token, [stream], lsn(100));
      await store.applySnapshotPart(driver.part(100, 0, { last: true }));
      await expect(show()).rejects.toBeInstanceOf(InvariantError);
      await store.applySnapshotPart(driver.part(100, 0, { last: true, table: 'public.members' }));
      await expect(show()).rejects.toBeInstanceOf(InvariantError);
      await driver.barrier(100);
      await show();
      expect((await store.readSource(project))?.serving).toMatchObject({ held: false, checkpoint: undefined });
      expect((await store.readStreams(project))[0]).toMatchObject({ visibleAfter: lsn(0) });
    });

    test('a switch shows and drops at the first checkpoint after it, in one step', async () => {
      const driver = driverOf();
      const old = await driver.serve();
      await driver.barrier(110);
      const fresh = await driver.add('fresh');
      await driver.store.setBackfillPoint(driver.project, driver.token, [fresh], lsn(115));
      await driver.barrier(120);
      await driver.switchTo([fresh], [old]);
      const streams = await driver.store.readStreams(driver.project);
      expect(streams.find(({ stream }) => stream === fresh)?.visibleAfter).toBe(lsn(120));
      expect(streams.find(({ stream }) => stream === old)?.droppedAfter).toBe(lsn(120));
      expect((await driver.barrier(130)).kind).toBe('applied');
    });

    test('L11: a visible stream is never copied into again, and a copy is read after the stream was activated', async () => {
      const driver = driverOf();
      const visible = await driver.serve();
      await driver.barrier(110);
      const fresh = await driver.add('fresh');
      const { store, project, token } = driver;
      await expect(store.setBackfillPoint(project, token, [visible], lsn(200))).rejects.toBeInstanceOf(InvariantError);
      await expect(store.setBackfillPoint(project, token, [fresh], lsn(110))).rejects.toBeInstanceOf(InvariantError);
      await expect(store.setBackfillPoint(project, token, [999 as StreamNo], lsn(200))).rejects.toMatchObject({
        code: 'STORE_FENCED',
      });
      await store.setBackfillPoint(project, token, [fresh], lsn(111));
    });

    test('while checkpoints are held frames are applied and none is published; the next barrier after it is', async () => {
      const driver = driverOf();
      await driver.serve();
      await driver.barrier(110);
      const { store, project, token, epoch } = driver;
      await store.holdCheckpoints(project, token, epoch, true);
      expect(await driver.barrier(120)).toMatchObject({ kind: 'applied', checkpoint: undefined });
      expect(await store.readCheckpoint(project)).toMatchObject({ lsn: lsn(110) });
      await store.holdCheckpoints(project, token, epoch, false);
      expect(await store.readCheckpoint(project)).toMatchObject({ lsn: lsn(110) });
      expect(await driver.barrier(130)).toEqual({
        kind: 'applied',
        checkpoint: { epoch, lsn: lsn(130), committedAtMs: 130 },
        previousLsn: lsn(110),
      });
    });
  });
}

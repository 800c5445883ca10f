import { barrierAt, type Epoch, SEQ_PER_ORDINAL, type ShardLeaseToken, type StreamNo } from '@sluice/domain';
import { InvariantError } from '@sluice/errors';
import { describe, expect, test } from 'vitest';
import type { SuiteContext } from './conformance.ts';
import { bucketId, chunk, lsn, member, StoreDriver, truncate } from './store-driver.ts';

export function describeFrames(context: SuiteContext): void {
  const driverOf = (): StoreDriver => new StoreDriver(context.store(), context.project());

  describe('frames', () => {
    test('L3: a frame that comes again is skipped and written once', async () => {
      const driver = driverOf();
      const stream = await driver.serve();
      const commit = driver.commit(110, {
        chunks: [chunk(stream, 1, 'one')],
        memberships: [member(stream, { at: { lsn: lsn(110), seq: SEQ_PER_ORDINAL }, row: 'r', value: 'v' })],
        truncates: [truncate(stream, 105, 1)],
        issues: [{ code: 'ROW_TOO_LARGE', table: 't', count: 1, details: {} }],
      });
      expect((await driver.store.applyFrame(commit)).kind).toBe('applied');
      expect(await driver.store.applyFrame(commit)).toEqual({ kind: 'skipped' });
      expect(await driver.read(stream, [1], { through: 110 })).toEqual(['one']);
      expect(await driver.store.readIssues(driver.project)).toMatchObject([{ count: 1 }]);
    });

    test('L3: a frame that begins beyond the applied position is a gap; one that overlaps goes on from it', async () => {
      const driver = driverOf();
      const stream = await driver.serve();
      const start = driver.applied;
      await driver.barrier(110, { chunks: [chunk(stream, 1, 'a')] });
      const applied = barrierAt(lsn(110));
      const beyond = driver.commit(130, { prev: barrierAt(lsn(120)), appliedBefore: barrierAt(lsn(120)) });
      expect(await driver.store.applyFrame(beyond)).toEqual({ kind: 'gap', applied });
      const stale = driver.commit(130, { prev: start, appliedBefore: start, chunks: [chunk(stream, 1, 'twice')] });
      expect(await driver.store.applyFrame(stale)).toEqual({ kind: 'gap', applied });
      const overlapping = driver.commit(130, { prev: start, chunks: [chunk(stream, 1, 'b')] });
      expect((await driver.store.applyFrame(overlapping)).kind).toBe('applied');
      expect(await driver.read(stream, [1], { through: 130 })).toEqual(['a', 'b']);
    });

    test('L3: another epoch, shard or map version is fenced', async () => {
      const driver = driverOf();
      await driver.serve();
      for (const change of [{ epoch: 99 as Epoch }, { shard: 1 }, { mapVersion: 2 }])
        await expect(driver.store.applyFrame(driver.commit(110, change))).rejects.toMatchObject({
          code: 'STORE_FENCED',
        });
    });

    test('L11: a frame that was evaluated without a stream in use, or with one that is dropped, is evaluated again', async () => {
      const driver = driverOf();
      const old = await driver.serve();
      await driver.barrier(110);
      const before = driver.streams;
      const fresh = await driver.add('fresh', lsn(115));
      expect((await driver.store.applyFrame(driver.commit(120, { streams: before }))).kind).toBe('gap');
      // At its activation and below it the stream gets nothing, so those frames need not know it.
      expect((await driver.barrier(115, { streams: before })).kind).toBe('applied');
      expect((await driver.barrier(120)).kind).toBe('applied');
      await driver.store.setBackfillPoint(driver.project, driver.token, [fresh], lsn(119));
      await driver.switchTo([fresh], [old]);
      expect((await driver.store.applyFrame(driver.commit(130, { streams: [old, fresh] }))).kind).toBe('gap');
      expect((await driver.store.applyFrame(driver.commit(130, { streams: [999 as StreamNo, fresh] }))).kind).toBe(
        'gap',
      );
      expect((await driver.barrier(130)).kind).toBe('applied');
    });

    test('L4: only barriers become checkpoints, and the one before the last is what may be confirmed (L2)', async () => {
      const driver = driverOf();
      await driver.serve();
      const { store, project, epoch } = driver;
      expect(await store.readCheckpoint(project)).toBeUndefined();
      expect(await driver.barrier(110)).toEqual({
        kind: 'applied',
        checkpoint: { epoch, lsn: lsn(110), committedAtMs: 110 },
        previousLsn: lsn(0),
      });
      const inside = { lsn: lsn(120), seq: 3 * SEQ_PER_ORDINAL };
      expect(await driver.barrier(120, { end: inside })).toMatchObject({ kind: 'applied', checkpoint: undefined });
      expect(await store.readCheckpoint(project)).toMatchObject({ lsn: lsn(110) });
      expect(await driver.barrier(120)).toMatchObject({ checkpoint: { lsn: lsn(120) }, previousLsn: lsn(110) });
      expect((await store.readSource(project))?.serving?.shards).toEqual([
        {
          shard: 0,
          applied: barrierAt(lsn(120)),
          barrier: { lsn: lsn(120), endLsn: lsn(128) },
          previousBarrierEndLsn: lsn(118),
        },
      ]);
    });

    test('L4: with several shards the checkpoint is the greatest barrier that all have applied', async () => {
      const driver = driverOf();
      await driver.open(100, 2);
      const stream = await driver.add();
      const { store, project, token, epoch } = driver;
      await store.setBackfillPoint(project, token, [stream], lsn(100));
      const start = driver.applied;
      const second = (await store.acquireShardLease(project, 1, 'driver', 60_000)) as ShardLeaseToken;
      const apply = (shard: number, from: number | undefined, to: number) => {
        const prev = from === undefined ? start : barrierAt(lsn(from));
        const shardLeaseToken = shard === 0 ? driver.shardToken : second;
        return store.applyFrame(driver.commit(to, { shard, shardLeaseToken, prev, appliedBefore: prev }));
      };
      await apply(0, undefined, 100);
      await apply(1, undefined, 100);
      await driver.switchTo([stream]);
      expect(await apply(0, 100, 110)).toMatchObject({ checkpoint: { lsn: lsn(100) } });
      expect(await apply(0, 110, 120)).toMatchObject({ kind: 'applied', checkpoint: undefined });
      expect(await apply(1, 100, 110)).toMatchObject({
        checkpoint: { epoch, lsn: lsn(110), committedAtMs: 110 },
        previousLsn: lsn(100),
      });
      const racing = await Promise.all([apply(0, 120, 130), apply(1, 110, 130)]);
      expect(racing.every(({ kind }) => kind === 'applied')).toBe(true);
      expect(await store.readCheckpoint(project)).toMatchObject({ lsn: lsn(130) });
    });

    test('L3: of frames that race for one place exactly one is applied', async () => {
      const driver = driverOf();
      const stream = await driver.serve();
      const racers = Array.from({ length: 8 }, (_, i) =>
        driver.store.applyFrame(driver.commit(110 + (i % 2), { chunks: [chunk(stream, 1, `racer ${i}`)] })),
      );
      const kinds = (await Promise.all(racers)).map(({ kind }) => kind);
      expect(kinds.filter((kind) => kind === 'applied')).toHaveLength(1);
      expect(await driver.read(stream, [1], { through: 200 })).toHaveLength(1);
    });

    test('what no caller may ask for is a broken invariant', async () => {
      const driver = driverOf();
      const stream = await driver.serve();
      const other = 999 as StreamNo;
      const at = { lsn: lsn(110), seq: 1 };
      for (const change of [
        { prev: barrierAt(lsn(110)) },
        { chunks: [chunk(other, 1, 'x')] },
        { chunks: [chunk(stream, 1, 'x', { bucket: bucketId(1).slice(1) as never })] },
        { memberships: [member(other, { at, row: 'r', value: 'v' })] },
      ])
        await expect(driver.store.applyFrame(driver.commit(110, change))).rejects.toBeInstanceOf(InvariantError);
      expect((await driver.barrier(110)).kind).toBe('applied');
    });

    test('what was left out is counted per code and table, newest first', async () => {
      const driver = driverOf();
      await driver.serve();
      const issue = (table: string, count: number) => ({ code: 'ROW_TOO_LARGE', table, count, details: { count } });
      await driver.barrier(110, { issues: [issue('a', 1), issue('a', 1)] });
      await driver.barrier(120, { issues: [issue('b', 2)] });
      await driver.barrier(130, { issues: [issue('a', 3)] });
      expect(await driver.store.readIssues(driver.project)).toEqual([
        { code: 'ROW_TOO_LARGE', table: 'a', count: 5, details: { count: 3 } },
        { code: 'ROW_TOO_LARGE', table: 'b', count: 2, details: { count: 2 } },
      ]);
    });
  });
}

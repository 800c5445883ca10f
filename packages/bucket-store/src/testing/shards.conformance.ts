import {
  barrierAt,
  type Position,
  type ProjectId,
  SEQ_PER_ORDINAL,
  type ShardLeaseToken,
  type StreamNo,
} from '@sluice/domain';
import { describe, expect, test } from 'vitest';
import type { ApplyOutcome, BucketStore, FrameCommit } from '../port.ts';
import type { SuiteContext } from './conformance.ts';
import { bucketId, chunk, identity, lsn, StoreDriver, truncate } from './store-driver.ts';

const SHARDS = 4;
const shardFence = { code: 'STORE_FENCED', details: { lease: 'shard' } };

/** Plays the workers of all shards. */
class Workers {
  readonly driver: StoreDriver;
  private readonly tokens: ShardLeaseToken[] = [];
  private readonly applied: Position[];
  private readonly mapVersion: number;

  constructor(
    driver: StoreDriver,
    from: { readonly mapVersion: number; readonly at: number } = { mapVersion: 1, at: 99 },
  ) {
    this.driver = driver;
    this.mapVersion = from.mapVersion;
    this.applied = Array.from({ length: SHARDS }, () => barrierAt(lsn(from.at)));
  }

  async lease(): Promise<void> {
    const { store, project } = this.driver;
    for (let shard = 0; shard < SHARDS; shard++) this.tokens.push(await leaseOf(store, project, shard));
  }

  /** An epoch of four shards that serves one stream, its first checkpoint still to come. */
  async serve(): Promise<StreamNo> {
    const { driver } = this;
    await driver.open(100, SHARDS);
    await this.lease();
    const stream = await driver.add();
    await driver.store.setBackfillPoint(driver.project, driver.token, [stream], lsn(100));
    for (let shard = 0; shard < SHARDS; shard++) await this.apply(shard, 100);
    await driver.switchTo([stream]);
    return stream;
  }

  async apply(shard: number, at: number, change: Partial<FrameCommit> = {}): Promise<ApplyOutcome> {
    const prev = this.applied[shard] ?? barrierAt(lsn(99));
    const shardLeaseToken = this.tokens[shard] as ShardLeaseToken;
    const place = { shard, shardLeaseToken, mapVersion: this.mapVersion, prev, appliedBefore: prev };
    const commit = this.driver.commit(at, { ...place, ...change });
    const outcome = await this.driver.store.applyFrame(commit);
    if (outcome.kind === 'applied') this.applied[shard] = commit.end;
    return outcome;
  }
}

async function leaseOf(store: BucketStore, project: ProjectId, shard: number): Promise<ShardLeaseToken> {
  return (await store.acquireShardLease(project, shard, 'driver', 60_000)) as ShardLeaseToken;
}

export function describeShards(context: SuiteContext): void {
  const driverOf = (): StoreDriver => new StoreDriver(context.store(), context.project());

  describe('shard leases', () => {
    test('L3: one holder per shard at a time, each shard its own, and each taking gives a higher token', async () => {
      const { store, project } = { store: context.store(), project: context.project() };
      const take = (shard: number, holder: string) => store.acquireShardLease(project, shard, holder, 60_000);
      const first = (await take(0, 'a')) as ShardLeaseToken;
      expect(await take(0, 'b')).toBeUndefined();
      const other = (await take(1, 'b')) as ShardLeaseToken;
      expect(await store.renewShardLease(project, 1, other, 60_000)).toBe(true);
      const again = (await take(0, 'a')) as ShardLeaseToken;
      expect(again).toBeGreaterThan(first);
      expect(await store.renewShardLease(project, 0, first, 60_000)).toBe(false);
      await store.releaseShardLease(project, 0, first);
      expect(await take(0, 'b')).toBeUndefined();
      await store.releaseShardLease(project, 0, again);
      expect(await store.renewShardLease(project, 0, again, 60_000)).toBe(false);
      expect(await take(0, 'b')).toBeGreaterThan(again);
      expect(await store.readSource(project)).toBeUndefined();
    });

    test('an expired lease of a shard is free; one that was renewed in time is not', async () => {
      const { store, project } = { store: context.store(), project: context.project() };
      const token = (await store.acquireShardLease(project, 0, 'a', 50)) as ShardLeaseToken;
      expect(await store.renewShardLease(project, 0, token, 60_000)).toBe(true);
      await context.passMs(60);
      expect(await store.acquireShardLease(project, 0, 'b', 60_000)).toBeUndefined();
      expect(await store.renewShardLease(project, 0, token, 1)).toBe(true);
      await context.passMs(10);
      expect(await store.acquireShardLease(project, 0, 'b', 60_000)).toBeGreaterThan(token);
    });

    test('L3: frames and parts of a worker whose shard another has taken are refused and change nothing', async () => {
      const driver = driverOf();
      await driver.serve();
      await driver.barrier(110);
      const { store, project, shardToken: stale } = driver;
      const copied = await driver.add('copied');
      await store.setBackfillPoint(project, driver.token, [copied], lsn(120));
      driver.shardToken = await leaseOf(store, project, 0);
      const before = [await store.readSource(project), await store.readStreams(project)];
      await expect(store.applyFrame(driver.commit(120, { shardLeaseToken: stale }))).rejects.toMatchObject(shardFence);
      const part = driver.part(120, 0, { streams: [copied], table: 'public.copied', last: true });
      await expect(store.applySnapshotPart({ ...part, shardLeaseToken: stale })).rejects.toMatchObject(shardFence);
      expect([await store.readSource(project), await store.readStreams(project)]).toEqual(before);
      expect((await driver.barrier(120)).kind).toBe('applied');
      expect(await store.applySnapshotPart(part)).toBe('applied');
    });

    test('L3: a lease holds for the epochs that come after it, and ends with the project', async () => {
      const driver = driverOf();
      await driver.open(100);
      await driver.open(200);
      expect((await driver.barrier(210)).kind).toBe('applied');
      const { store, project, shardToken } = driver;
      await store.eraseProject(project);
      expect(await store.renewShardLease(project, 0, shardToken, 60_000)).toBe(false);
      await driver.open(300);
      expect(driver.shardToken).toBeGreaterThan(shardToken);
      const late = driver.commit(310, { shardLeaseToken: shardToken });
      await expect(store.applyFrame(late)).rejects.toMatchObject(shardFence);
    });
  });

  describe('several shards', () => {
    test('L4: chunks that shards write of one bucket at one barrier stand side by side, and show together', async () => {
      const driver = driverOf();
      const workers = new Workers(driver);
      const stream = await workers.serve();
      for (let shard = 0; shard < SHARDS; shard++) {
        expect(await driver.read(stream, [1], { through: Number((await checkpointOf(driver))?.lsn ?? 0) })).toEqual([]);
        await workers.apply(shard, 110, {
          chunks: [chunk(stream, 1, `${shard} a`), chunk(stream, 1, `${shard} b`)],
        });
      }
      expect(await checkpointOf(driver)).toMatchObject({ lsn: lsn(110) });
      const wanted = [0, 1, 2, 3].flatMap((shard) => [`${shard} a`, `${shard} b`]);
      expect(await driver.read(stream, [1], { through: 110 })).toEqual(wanted);
      const sums = await driver.store.readSums(driver.project, [{ stream, bucket: bucketId(1) }], lsn(110));
      expect([...sums.values()]).toEqual([{ checksum: 8n, rows: 8 }]);
    });

    test('a TRUNCATE that every shard tells of voids exactly what came before it in each', async () => {
      const driver = driverOf();
      const workers = new Workers(driver);
      const stream = await workers.serve();
      const inside = (ordinal: number) => ({ lsn: lsn(110), seq: ordinal * SEQ_PER_ORDINAL });
      for (let shard = 0; shard < SHARDS; shard++) {
        await workers.apply(shard, 110, { end: inside(shard + 1), chunks: [chunk(stream, 1, `before ${shard}`)] });
        await workers.apply(shard, 110, {
          truncates: [truncate(stream, 110, 9 * SEQ_PER_ORDINAL), truncate(stream, 110, 9 * SEQ_PER_ORDINAL, 0)],
          chunks: [chunk(stream, 1, `after ${shard}`)],
        });
      }
      expect(await driver.read(stream, [1], { through: 110 })).toEqual([0, 1, 2, 3].map((shard) => `after ${shard}`));
      expect(await driver.store.readTruncated(driver.project, [stream], lsn(100), lsn(110))).toEqual([stream]);
    });

    test('L4: a barrier that some shard passed within a frame is no checkpoint, however far the others are', async () => {
      const driver = driverOf();
      const workers = new Workers(driver);
      const stream = await workers.serve();
      for (const [shard, barriers] of [
        [110, 120, 130],
        [105, 120, 130],
        [110, 120, 130],
        [115, 130],
      ].entries())
        for (const at of barriers)
          expect(await workers.apply(shard, at, { chunks: [chunk(stream, 1, `${shard} ${at}`)] })).toMatchObject(
            shard === 3 && at === 130 ? { checkpoint: { lsn: lsn(130), committedAtMs: 130 } } : { kind: 'applied' },
          );
      expect(await driver.read(stream, [1], { through: 130 })).toHaveLength(11);
      for (const shard of [0, 1, 2]) await workers.apply(shard, 140);
      expect(await checkpointOf(driver)).toMatchObject({ lsn: lsn(130) });
      expect(await workers.apply(3, 140)).toMatchObject({ checkpoint: { lsn: lsn(140) }, previousLsn: lsn(130) });
    });

    test('L4: shards level out while checkpoints are held, and the next barrier shows it', async () => {
      const driver = driverOf();
      const workers = new Workers(driver);
      await workers.serve();
      const { store, project, token, epoch } = driver;
      await store.holdCheckpoints(project, token, epoch, true);
      for (const shard of [0, 1, 2, 3])
        expect(await workers.apply(shard, 110)).toMatchObject({ checkpoint: undefined });
      await store.holdCheckpoints(project, token, epoch, false);
      expect(await workers.apply(0, 120)).toMatchObject({ checkpoint: { lsn: lsn(110), committedAtMs: 110 } });
    });

    test('L2, L4: shards that race end at one checkpoint after another, whoever comes last', async () => {
      const driver = driverOf();
      const workers = new Workers(driver);
      await workers.serve();
      const seen: number[] = [];
      await Promise.all(
        [0, 1, 2, 3].map(async (shard) => {
          for (let at = 110; at <= 150; at += 10) {
            const outcome = await workers.apply(shard, at);
            if (outcome.kind === 'applied' && outcome.checkpoint) seen.push(Number(outcome.checkpoint.lsn));
          }
        }),
      );
      expect(seen.length).toBe(new Set(seen).size);
      expect(await checkpointOf(driver)).toMatchObject({ lsn: lsn(150) });
    });

    test('L4: the shard map changes at a barrier that all have applied, and frames of the map before are refused', async () => {
      const driver = driverOf();
      const workers = new Workers(driver);
      const stream = await workers.serve();
      const { store, project, token, epoch } = driver;
      const change = (shards: number, at: number) => store.reshard(project, token, epoch, { shards, at: lsn(at) });
      await workers.apply(0, 110);
      await expect(change(2, 110)).rejects.toThrow('L4');
      for (const shard of [1, 2, 3]) await workers.apply(shard, 110);
      await expect(change(2, 100)).rejects.toThrow('L4');
      const late = driver.commit(120, { shardLeaseToken: await leaseOf(store, project, 0), prev: barrierAt(lsn(110)) });
      expect(await change(2, 110)).toBe(2);
      await expect(store.applyFrame({ ...late, appliedBefore: late.prev })).rejects.toMatchObject({
        code: 'STORE_FENCED',
      });

      const after = new Workers(driver, { mapVersion: 2, at: 110 });
      await after.lease();
      expect(await after.apply(0, 120, { chunks: [chunk(stream, 1, 'zero')] })).toMatchObject({
        checkpoint: undefined,
      });
      await expect(after.apply(2, 120)).rejects.toMatchObject({ code: 'STORE_FENCED' });
      expect(await after.apply(1, 120)).toMatchObject({ checkpoint: { lsn: lsn(120) } });
      expect(await change(4, 120)).toBe(3);
      const source = await store.readSource(project);
      expect(source?.serving).toMatchObject({ mapVersion: 3 });
      expect(source?.serving?.shards.map((one) => ({ ...one, shard: 0 }))).toEqual(
        Array.from({ length: 4 }, () => ({
          shard: 0,
          applied: barrierAt(lsn(120)),
          barrier: { lsn: lsn(120), endLsn: lsn(128) },
          previousBarrierEndLsn: lsn(118),
        })),
      );
      const last = new Workers(driver, { mapVersion: 3, at: 120 });
      await last.lease();
      for (const shard of [3, 2, 1, 0]) await last.apply(shard, 130);
      expect(await checkpointOf(driver)).toMatchObject({ lsn: lsn(130) });
    });

    test('L4: the shard map does not change while rows are copied', async () => {
      const driver = driverOf();
      const workers = new Workers(driver);
      await workers.serve();
      const { store, project, token, epoch } = driver;
      await driver.add('copied');
      await expect(store.reshard(project, token, epoch, { shards: 1, at: lsn(100) })).rejects.toThrow('copied');
    });

    test('L6: the map knows the row key of every table from the first stream that reads it, until the next map', async () => {
      const driver = driverOf();
      await driver.open(100, 2);
      const column = (name: string) => ({ source: { name } });
      const plan = (key: string) => ({
        sourceTable: { schema: 'public', name: 'items' },
        table: { columns: [column(key), column('text')], keyColumns: 1 },
        memberships: [{ table: { schema: 'public', name: 'members' }, key: [{ name: 'a' }, { name: 'b' }] }],
      });
      const { store, project, token } = driver;
      const rowKeys = async () => (await store.readSource(project))?.building?.rowKeys;
      expect(await rowKeys()).toEqual({});
      await driver.add('first', lsn(99), plan('id'));
      await driver.add('second', lsn(99), plan('uuid'));
      expect(await rowKeys()).toEqual({ 'public.items': ['id'], 'public.members': ['a', 'b'] });
      await expect(store.readStreams(project)).resolves.toHaveLength(2);
      expect(token).toBe(driver.token);
    });

    test('a stream that is added stands above what any shard has applied', async () => {
      const driver = driverOf();
      const workers = new Workers(driver);
      await workers.serve();
      await workers.apply(2, 150);
      const fresh = await driver.add('fresh', lsn(100));
      const { store, project, token } = driver;
      await expect(store.setBackfillPoint(project, token, [fresh], lsn(150))).rejects.toThrow('L11');
      await store.setBackfillPoint(project, token, [fresh], lsn(151));
      expect((await store.openEpoch(project, token, identity, barrierAt(lsn(500)), SHARDS)) > driver.epoch).toBe(true);
    });
  });
}

async function checkpointOf(driver: StoreDriver) {
  return driver.store.readCheckpoint(driver.project);
}

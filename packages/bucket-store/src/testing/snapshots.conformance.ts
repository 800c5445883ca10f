import { SEQ_SNAPSHOT } from '@sluice/domain';
import { describe, expect, test } from 'vitest';
import { PARTS_PER_RANGE } from '../port.ts';
import type { SuiteContext } from './conformance.ts';
import { chunk, lsn, member, StoreDriver } from './store-driver.ts';

export function describeSnapshots(context: SuiteContext): void {
  const loading = async (): Promise<StoreDriver> => {
    const driver = new StoreDriver(context.store(), context.project());
    await driver.open(100);
    await driver.add();
    await driver.store.setBackfillPoint(driver.project, driver.token, driver.streams, lsn(100));
    return driver;
  };

  const ranges = [
    { lower: undefined, upper: ['m', 'µ'] },
    { lower: ['m', 'µ'], upper: undefined },
  ];
  const planned = async (): Promise<StoreDriver> => {
    const driver = await loading();
    const { store, project, token, streams } = driver;
    await store.planCopy(project, token, streams, { table: 'public.items', ranges });
    return driver;
  };
  /** The points of the planned ranges, which come back as they were given. */
  const points = async ({ store, project, streams }: StoreDriver) => {
    const records = await store.readCopy(project, streams[0] as never);
    const expected = ranges.map((range, i) => ({ table: 'public.items', range: i, ...range }));
    expect(records.map(({ point: _, ...record }) => record)).toEqual(records.length === 0 ? [] : expected);
    return records.map(({ point }) => point);
  };

  describe('copies', () => {
    test('L10: a part is applied once, and a table is loaded when all parts up to the last are, in any order', async () => {
      const driver = await loading();
      const [stream] = driver.streams as [never];
      const { store, project } = driver;
      const tables = async () => (await store.readStreams(project))[0]?.loadedTables;
      const at = { lsn: lsn(100), seq: SEQ_SNAPSHOT };
      const parts = [0, 1, 2].map((part) =>
        driver.part(100, part, {
          last: part === 2,
          chunks: [chunk(stream, 1, `part ${part}`), chunk(stream, 1, `part ${part} too`)],
          memberships: [member(stream, { at, row: `r${part}`, value: `v${part}` })],
        }),
      );
      const [first, second, last] = parts as [never, never, never];
      expect(await store.applySnapshotPart(last)).toBe('applied');
      expect(await store.applySnapshotPart(first)).toBe('applied');
      expect(await tables()).toEqual([]);
      expect(await store.applySnapshotPart(first)).toBe('skipped');
      expect(await store.applySnapshotPart(second)).toBe('applied');
      expect(await store.applySnapshotPart(last)).toBe('skipped');
      expect(await tables()).toEqual(['public.items']);
      const texts = ['part 0', 'part 0 too', 'part 1', 'part 1 too', 'part 2', 'part 2 too'];
      expect(await driver.read(stream, [1], { through: 100 })).toEqual(texts);
      expect(await driver.members(stream, 100)).toEqual(['v0', 'v1', 'v2']);
    });

    test('L10: rows of the copy and of the stream stand side by side, whichever came first', async () => {
      const driver = await loading();
      const [stream] = driver.streams as [never];
      await driver.barrier(110, {
        chunks: [chunk(stream, 1, 'streamed', { rowsDelta: -1, checksumDelta: 2n ** 64n - 5n })],
      });
      await driver.store.applySnapshotPart(
        driver.part(100, 0, { last: true, chunks: [chunk(stream, 1, 'copied', { rowsDelta: 3, checksumDelta: 9n })] }),
      );
      expect(await driver.read(stream, [1], { through: 110 })).toEqual(['copied', 'streamed']);
      const bucket = chunk(stream, 1, '').bucket;
      const sums = await driver.store.readSums(driver.project, [{ stream, bucket }], lsn(110));
      expect(sums.get(bucket)).toEqual({ checksum: 4n, rows: 2 });
    });

    test('L10: what was streamed below the point is in the copy, so it becomes void', async () => {
      const driver = new StoreDriver(context.store(), context.project());
      await driver.serve();
      await driver.barrier(110);
      const fresh = await driver.add('fresh');
      const at = (value: number) => ({ lsn: lsn(value), seq: 1 });
      for (const [commit, text] of [
        [120, 'below'],
        [130, 'at'],
        [140, 'above'],
      ] as const)
        await driver.barrier(commit, {
          chunks: [chunk(fresh, 1, text)],
          memberships: [member(fresh, { at: at(commit), row: text, value: text })],
          truncates: commit === 120 ? [{ stream: fresh, membership: undefined, position: at(120) }] : [],
        });
      const { store, project, token } = driver;
      await store.setBackfillPoint(project, token, [fresh], lsn(130));
      await store.applySnapshotPart(driver.part(130, 0, { streams: [fresh], chunks: [chunk(fresh, 1, 'copied')] }));
      expect(await driver.read(fresh, [1], { through: 140 })).toEqual(['copied', 'at', 'above']);
      expect(await driver.members(fresh, 140)).toEqual(['above', 'at']);
      expect(await store.readTruncated(project, [fresh], lsn(0), lsn(140))).toEqual([]);
      const bucket = chunk(fresh, 1, '').bucket;
      expect((await store.readSums(project, [{ stream: fresh, bucket }], lsn(140))).get(bucket)?.rows).toBe(3);
    });

    test('L10: a new point begins the copy again; parts under the old one are refused and void', async () => {
      const driver = await loading();
      const [stream] = driver.streams as [never];
      const { store, project, token } = driver;
      const old = driver.part(100, 0, { last: true, chunks: [chunk(stream, 1, 'old')] });
      await store.applySnapshotPart(old);
      await store.setBackfillPoint(project, token, [stream], lsn(100));
      expect((await store.readStreams(project))[0]?.loadedTables).toEqual(['public.items']);
      await store.setBackfillPoint(project, token, [stream], lsn(200));
      expect((await store.readStreams(project))[0]?.loadedTables).toEqual([]);
      await expect(store.applySnapshotPart({ ...old, part: 1 })).rejects.toMatchObject({ code: 'STORE_FENCED' });
      const again = driver.part(200, 0, { last: true, chunks: [chunk(stream, 1, 'again')] });
      expect(await store.applySnapshotPart(again)).toBe('applied');
      expect(await driver.read(stream, [1], { through: 300 })).toEqual(['again']);
      expect((await store.readStreams(project))[0]?.loadedTables).toEqual(['public.items']);
    });

    test('L10: a range is done with its last part, and a table is loaded with its last range, in any order', async () => {
      const driver = await planned();
      const { store, project, token } = driver;
      const [stream] = driver.streams as [never];
      const range = (number: number, part: number, last = false) =>
        driver.part(100, number * PARTS_PER_RANGE + part, { last, chunks: [chunk(stream, 1, `${number} ${part}`)] });
      const loaded = async () => (await store.readStreams(project))[0]?.loadedTables;
      expect(await points(driver)).toEqual([undefined, undefined]);
      await store.applySnapshotPart(range(1, 1, true));
      await store.applySnapshotPart(range(1, 0));
      expect(await points(driver)).toEqual([undefined, lsn(100)]);
      expect(await loaded()).toEqual([]);
      expect(await store.applySnapshotPart(range(1, 0))).toBe('skipped');
      await store.applySnapshotPart(range(0, 0, true));
      expect(await points(driver)).toEqual([lsn(100), lsn(100)]);
      expect(await loaded()).toEqual(['public.items']);
      expect(await driver.read(stream, [1], { through: 100 })).toEqual(['0 0', '1 0', '1 1']);
      await expect(store.planCopy(project, token, [stream], { table: 'public.items', ranges })).rejects.toThrow('once');
    });

    test('L10: what is left is copied under a newer point, what is done stays, and parts of the older point are refused', async () => {
      const driver = await planned();
      const { store, project, token } = driver;
      const [stream] = driver.streams as [never];
      const part = (point: number, number: number) =>
        driver.part(point, number * PARTS_PER_RANGE, { last: true, chunks: [chunk(stream, 1, `${point} ${number}`)] });
      await store.applySnapshotPart(part(100, 1));
      await expect(store.resumeCopy(project, token, [stream], lsn(100))).rejects.toThrow('newer point');
      await store.resumeCopy(project, token, [stream], lsn(200));
      await expect(store.applySnapshotPart(part(100, 0))).rejects.toMatchObject({ code: 'STORE_FENCED' });
      await expect(store.applySnapshotPart(part(200, 1))).rejects.toThrow();
      await store.applySnapshotPart(part(200, 0));
      expect(await points(driver)).toEqual([lsn(200), lsn(100)]);
      await driver.barrier(150);
      await expect(driver.switchTo([stream])).rejects.toThrow('newest point');
      await driver.barrier(200);
      await expect(driver.switchTo([stream])).rejects.toThrow('sums');
      await store.settleCopy(project, token, { stream, corrections: [], last: true });
      await driver.switchTo([stream]);
      expect(await driver.read(stream, [1], { through: 200 })).toEqual(['100 1', '200 0']);
    });

    test('L9: corrections add to the sums, each time they are written; buckets of one copied range need none', async () => {
      const driver = await planned();
      const { store, project, token } = driver;
      const [stream] = driver.streams as [never];
      const [copied, streamed, both] = [chunk(stream, 1, 'c'), chunk(stream, 2, 's'), chunk(stream, 3, 'b')];
      await store.applySnapshotPart(driver.part(100, PARTS_PER_RANGE, { last: true, chunks: [copied, both] }));
      await driver.barrier(110, { chunks: [streamed] });
      await store.resumeCopy(project, token, [stream], lsn(200));
      await store.applySnapshotPart(driver.part(200, 0, { last: true, chunks: [both] }));
      await driver.barrier(200);
      const request = { stream, through: lsn(200), after: undefined, bucketsMax: 10 };
      expect(await store.readUnsettled(project, request)).toEqual([
        { bucket: streamed.bucket, ops: 1 },
        { bucket: both.bucket, ops: 2 },
      ]);
      expect(await store.readUnsettled(project, { ...request, bucketsMax: 1 })).toHaveLength(1);
      expect(await store.readUnsettled(project, { ...request, after: streamed.bucket })).toHaveLength(1);
      const correction = { bucket: both.bucket, rowsDelta: -1, checksumDelta: 2n ** 64n - 1n };
      await store.settleCopy(project, token, { stream, corrections: [correction], last: false });
      await expect(driver.switchTo([stream])).rejects.toThrow('sums');
      const more = [{ ...correction, rowsDelta: 3, checksumDelta: 2n ** 63n }];
      await store.settleCopy(project, token, { stream, corrections: more, last: true });
      await driver.switchTo([stream]);
      const ref = { stream, bucket: both.bucket };
      const sums = await store.readSums(project, [ref], lsn(200));
      expect(sums.get(both.bucket)).toEqual({ rows: 4, checksum: 1n + 2n ** 63n });
      await expect(
        store.settleCopy(project, (token + 1n) as never, { stream, corrections: [], last: true }),
      ).rejects.toMatchObject({ code: 'STORE_FENCED' });
    });

    test('L11: a new back-fill point forgets the ranges of the one before', async () => {
      const driver = await planned();
      const { store, project, token } = driver;
      await store.setBackfillPoint(project, token, driver.streams, lsn(300));
      expect(await points(driver)).toEqual([]);
    });

    test('L5: nothing is copied into a visible, dropped or unknown stream', async () => {
      const driver = new StoreDriver(context.store(), context.project());
      const stream = await driver.serve();
      const { store } = driver;
      const part = driver.part(100, 0, { chunks: [chunk(stream, 1, 'late')] });
      await expect(store.applySnapshotPart(part)).rejects.toMatchObject({ code: 'STORE_FENCED' });
      await expect(store.applySnapshotPart({ ...part, streams: [stream, 999 as never] })).rejects.toMatchObject({
        code: 'STORE_FENCED',
      });
      expect(await driver.read(stream, [1], { through: 200 })).toEqual([]);
    });
  });
}

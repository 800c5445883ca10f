import { SEQ_SNAPSHOT } from '@sluice/domain';
import { describe, expect, test } from 'vitest';
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

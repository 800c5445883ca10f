import { SEQ_SNAPSHOT } from '@sluice/domain';
import { describe, expect, test } from 'vitest';
import type { RowStateRef, RowStateWrite } from '../row-state.ts';
import type { SuiteContext } from './conformance.ts';
import { lsn, StoreDriver, truncate } from './store-driver.ts';

const bytes = (text: string) => new TextEncoder().encode(text);

export function describeRowStates(context: SuiteContext): void {
  const loading = async (): Promise<StoreDriver> => {
    const driver = new StoreDriver(context.store(), context.project());
    await driver.open(100);
    await driver.add();
    await driver.store.setBackfillPoint(driver.project, driver.token, driver.streams, lsn(100));
    return driver;
  };
  const serving = async (): Promise<StoreDriver> => {
    const driver = new StoreDriver(context.store(), context.project());
    await driver.serve();
    return driver;
  };
  /** A row of the driver's stream, written at (at, 65536). */
  const row = (driver: StoreDriver, key: string, at: number, change: Partial<RowStateWrite> = {}): RowStateWrite => ({
    stream: driver.streams[0] ?? (0 as never),
    membership: undefined,
    key,
    kind: 'row',
    position: { lsn: lsn(at), seq: 65_536 },
    sinceLsn: lsn(at - 1),
    origin: undefined,
    image: bytes(`${key} at ${at}`),
    ...change,
  });
  const read = (
    driver: StoreDriver,
    keys: readonly string[],
    change: { bytesMax?: number; withOrigins?: boolean; membership?: number } = {},
  ) => {
    const refs = keys.map(
      (key): RowStateRef => ({ stream: driver.streams[0] ?? (0 as never), membership: change.membership, key }),
    );
    const { bytesMax = 1 << 20, withOrigins = false } = change;
    return driver.store.readRowStates(driver.project, { epoch: driver.epoch, shard: 0, refs, withOrigins, bytesMax });
  };
  const texts = async (driver: StoreDriver, keys: readonly string[], change = {}): Promise<string[]> => {
    const { states } = await read(driver, keys, change);
    return states.map(({ ref, kind, image }) => `${ref} ${kind} ${new TextDecoder().decode(image)}`);
  };
  const write = async (driver: StoreDriver, at: number, writes: readonly RowStateWrite[], change = {}) => {
    const { revision } = await read(driver, []);
    return driver.barrier(at, { rowStates: { revision, writes }, ...change });
  };

  describe('row states', () => {
    test('L7: a state is what was written last, and goes when it is erased', async () => {
      const driver = await serving();
      await write(driver, 110, [row(driver, 'a', 110), row(driver, 'b', 110), row(driver, '\xff\x00', 110)]);
      const { membership: _, ...other } = row(driver, 'a', 110, { image: bytes('member') });
      await write(driver, 120, [row(driver, 'a', 120), row(driver, 'b', 120, { kind: 'absent', image: bytes('') })]);
      await write(driver, 130, [{ ...other, membership: 0 }]);
      expect(await texts(driver, ['b', '\xff\x00', 'a', 'a'])).toEqual([
        '1 row \xff\x00 at 110',
        '2 row a at 120',
        '3 row a at 120',
      ]);
      expect(await texts(driver, ['a', 'b'], { membership: 0 })).toEqual(['0 row member']);
      const page = await read(driver, ['a']);
      expect(page.applied).toEqual(driver.applied);
      expect(page.states[0]).toMatchObject({
        position: { lsn: lsn(120), seq: 65_536 },
        sinceLsn: lsn(119),
        origin: undefined,
      });
    });

    test('L16: a page ends at its bound in bytes, and says how many keys it answers', async () => {
      const driver = await serving();
      const image = new Uint8Array(1000).fill(7);
      await write(
        driver,
        110,
        ['a', 'b', 'c', 'd'].map((key) => row(driver, key, 110, { image })),
      );
      const keys = ['x', 'a', 'y', 'b', 'c', 'z', 'd', 'w'];
      const page = await read(driver, keys, { bytesMax: 1001 });
      expect(page.states.map(({ ref }) => ref)).toEqual([1, 3]);
      expect(page.answered).toBe(4);
      const rest = await read(driver, keys.slice(page.answered), { bytesMax: 1 << 20 });
      expect(rest.states.map(({ ref }) => ref)).toEqual([0, 2]);
      expect(rest.answered).toBe(4);
      expect((await read(driver, [])).answered).toBe(0);
    });

    test('L3: a frame that was evaluated with the states of another revision changes nothing', async () => {
      const driver = await loading();
      const { revision } = await read(driver, ['a']);
      await driver.store.setBackfillPoint(driver.project, driver.token, driver.streams, lsn(105));
      const outcome = await driver.barrier(110, { rowStates: { revision, writes: [row(driver, 'a', 110)] } });
      expect(outcome).toEqual({ kind: 'gap', applied: driver.applied });
      expect(await texts(driver, ['a'])).toEqual([]);
      expect((await write(driver, 110, [row(driver, 'a', 110)])).kind).toBe('applied');
    });

    test('L3: a part of a copy whose states moved is stale; one that is applied moves them', async () => {
      const driver = await loading();
      const { store } = driver;
      const before = await read(driver, ['a']);
      const at = { lsn: lsn(100), seq: SEQ_SNAPSHOT };
      const part = (appliedBefore = driver.applied, revision = before.revision) =>
        driver.part(100, 0, {
          last: true,
          rowStates: { appliedBefore, revision, writes: [row(driver, 'a', 100, { position: at })] },
        });
      const early = part();
      await driver.barrier(110);
      expect(await store.applySnapshotPart(early)).toBe('stale');
      expect((await store.readStreams(driver.project))[0]?.loadedTables).toEqual([]);
      expect(await store.applySnapshotPart(part())).toBe('applied');
      expect(await store.applySnapshotPart(part())).toBe('skipped');
      expect(await texts(driver, ['a'])).toEqual(['0 row a at 100']);
      expect((await read(driver, [])).revision).toBeGreaterThan(before.revision);
      const late = { revision: before.revision, writes: [row(driver, 'a', 120)] };
      expect((await driver.barrier(120, { rowStates: late })).kind).toBe('gap');
    });

    test('L10: states below the back-fill point are void, and so are those below a TRUNCATE of their table', async () => {
      const driver = await loading();
      const [stream] = driver.streams as [never];
      const at = (key: string, point: number) => row(driver, key, point, { position: { lsn: lsn(point), seq: 0 } });
      await write(driver, 110, [row(driver, 'a', 110), row(driver, 'b', 110, { membership: 0 })]);
      await write(driver, 120, [row(driver, 'c', 120), at('d', 120)]);
      await driver.store.setBackfillPoint(driver.project, driver.token, driver.streams, lsn(120));
      expect(await texts(driver, ['a', 'c', 'd'])).toEqual(['1 row c at 120', '2 row d at 120']);
      expect(await texts(driver, ['b'], { membership: 0 })).toEqual([]);
      const writes = [row(driver, 'a', 130, { position: { lsn: lsn(130), seq: 3 * 65_536 } })];
      await write(driver, 130, writes, { truncates: [truncate(stream, 130, 2 * 65_536)] });
      await write(driver, 140, [row(driver, 'b', 140, { membership: 0 })]);
      expect(await texts(driver, ['a', 'c', 'd'])).toEqual(['0 row a at 130']);
      expect(await texts(driver, ['b'], { membership: 0 })).toEqual(['0 row b at 140']);
    });

    test('L10: a row whose columns are in the copy is found by its key there', async () => {
      const driver = await loading();
      await write(driver, 110, [
        row(driver, 'new', 110, { kind: 'partial', origin: 'old' }),
        row(driver, 'old', 110, { kind: 'gone', image: bytes('') }),
      ]);
      expect(await texts(driver, ['old'])).toEqual(['0 gone ']);
      const { states } = await read(driver, ['x', 'old'], { withOrigins: true });
      expect(states.map(({ ref, kind, isOrigin, origin }) => ({ ref, kind, isOrigin, origin }))).toEqual([
        { ref: 1, kind: 'gone', isOrigin: false, origin: undefined },
        { ref: 1, kind: 'partial', isOrigin: true, origin: 'old' },
      ]);
    });

    test('L10: a stream is not shown before what its copy was laid beside, nor while columns of a row are missing', async () => {
      const driver = await loading();
      const { store, project, token, epoch, streams } = driver;
      await driver.barrier(100);
      const inside = { lsn: lsn(130), seq: 65_536 };
      const moved = row(driver, 'new', 130, { kind: 'partial', origin: 'old' });
      await write(driver, 130, [moved], { end: inside, endLsn: lsn(0) });
      const { revision } = await read(driver, []);
      const rowStates = { revision, appliedBefore: driver.applied, writes: [] };
      await store.applySnapshotPart(driver.part(100, 0, { last: true, rowStates }));
      const show = () => store.switchStreams(project, token, epoch, { show: streams, drop: [] });
      await expect(show()).rejects.toThrow(/laid beside/);
      await driver.barrier(130);
      await expect(show()).rejects.toMatchObject({ code: 'SCHEMA_RELOADING' });
      await write(driver, 140, [row(driver, 'new', 140)]);
      await show();
    });

    test('L10: tombstones stay until the stream is visible, voided states until they are erased, and all go with the stream', async () => {
      const driver = await loading();
      const { store, project } = driver;
      const [stream] = driver.streams as [never];
      const gone = row(driver, 'a', 110, { kind: 'gone', image: bytes('') });
      await write(driver, 110, [gone, row(driver, 'b', 110), row(driver, 'c', 110)]);
      expect(await store.eraseDropped(project, 100)).toBe(true);
      expect(await texts(driver, ['a', 'b'])).toEqual(['0 gone ', '1 row b at 110']);
      const { revision } = await read(driver, []);
      const rowStates = { revision, appliedBefore: driver.applied, writes: [] };
      await store.applySnapshotPart(driver.part(100, 0, { last: true, rowStates }));
      await driver.switchTo([stream]);
      expect(await store.eraseDropped(project, 100)).toBe(true);
      expect(await texts(driver, ['a', 'b'])).toEqual(['1 row b at 110']);
      await write(driver, 120, [row(driver, 'd', 120, { position: { lsn: lsn(120), seq: 2 * 65_536 } })], {
        truncates: [truncate(stream, 120, 65_536)],
      });
      // As many as the bound allows; then there is nothing more to do.
      expect(await store.eraseDropped(project, 1)).toBe(false);
      expect(await store.eraseDropped(project, 100)).toBe(true);
      expect(await texts(driver, ['b', 'c', 'd'])).toEqual(['2 row d at 120']);
    });

    test('a retired epoch has no states to read', async () => {
      const driver = await serving();
      const { store, project, token } = driver;
      await store.eraseProject(project);
      const request = { epoch: driver.epoch, shard: 0, refs: [], withOrigins: false, bytesMax: 1 };
      await expect(store.readRowStates(project, request)).rejects.toMatchObject({ code: 'STORE_FENCED' });
      expect(token).toBeGreaterThan(0n);
    });
  });
}

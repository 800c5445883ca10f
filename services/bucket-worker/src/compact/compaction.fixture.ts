import type { BucketStore } from '@sluice/bucket-store';
import { bucketId, lsn } from '@sluice/bucket-store/conformance';
import type { ProjectId } from '@sluice/domain';
import { manualClock, type SeededRandom, seededRandom } from '@sluice/testkit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type CompactionSettings, compactProject } from './compact-project.ts';
import { plainRows, RecordedHistory, sumsOf } from './history.fixture.ts';

export interface CompactedStore {
  readonly store: BucketStore;
  /** Random histories a test. */
  readonly rounds: number;
  /** It stores small buckets more tightly. */
  readonly packs: boolean;
  /** Every byte that the store holds of the project's rows, as latin1 text. */
  dump(project: ProjectId): Promise<string>;
  close(): Promise<void>;
}
const settings: CompactionSettings = {
  holder: 'compactor',
  retentionMs: 100,
  readableMs: 15,
  bucketsMax: 2,
  bytesMax: 200,
};

/** What compaction keeps, on any store: it changes what is stored and nothing that can be read. */
export function describeCompaction(name: string, create: () => Promise<CompactedStore>): void {
  describe(`compaction: ${name}`, () => {
    let subject: CompactedStore;
    let projects = 0;
    const clock = manualClock();
    beforeAll(async () => {
      subject = await create();
    });
    afterAll(async () => subject.close());

    const begun = async (random: SeededRandom, buckets?: number): Promise<RecordedHistory> => {
      const history = new RecordedHistory(subject.store, ++projects as ProjectId, random, buckets);
      await history.begin();
      return history;
    };
    const steps = (history: RecordedHistory, change: Partial<CompactionSettings> = {}, thorough = true) => {
      const work = { store: subject.store, clock, project: history.driver.project };
      const lately = { resumeFrom: lsn(0), monotonicMs: clock.monotonicMs() };
      return compactProject(work, { ...settings, ...change }, { thoroughAt: thorough ? undefined : lately });
    };
    const pass = async (history: RecordedHistory, change: Partial<CompactionSettings> = {}): Promise<number> => {
      let count = 0;
      for await (const step of steps(history, change)) count += step.opsDropped + step.packed;
      return count;
    };
    /** Passes while time goes by: a floor is a checkpoint that an earlier pass noted. */
    const passes = async (history: RecordedHistory, ageMs: number, bytesMax = settings.bytesMax): Promise<void> => {
      for (const end = history.at + ageMs; history.at <= end; ) {
        for (let i = 0; i < 4; i++) await history.commit(new Map());
        await pass(history, { bytesMax });
      }
    };
    const floorsOf = async (history: RecordedHistory, readableMs = settings.readableMs) => {
      const { project } = history.driver;
      const token = await subject.store.acquireCompaction(project, settings.holder, 60_000);
      if (token === undefined) throw new Error('the lease is free');
      const floors = await subject.store.raiseFloors(project, token, { ...settings, readableMs });
      if (!floors) throw new Error('there is a checkpoint');
      return floors;
    };

    /** Every readable checkpoint shows what it showed, and every client that may resume gets there. */
    async function check(history: RecordedHistory, random: SeededRandom): Promise<void> {
      const { store, project } = history.driver;
      const { readFrom, resumeFrom } = await floorsOf(history);
      const head = history.head;
      for (const snapshot of history.snapshots) {
        if (random.chance(0.6)) continue;
        const at = lsn(snapshot.at);
        if (at >= readFrom) {
          expect(plainRows(await history.reductionAt(snapshot.at))).toEqual(plainRows(snapshot.rowsByBucket));
          const sums = await store.readSums(project, history.refs, at);
          for (const { bucket } of history.refs)
            expect(sums.get(bucket) ?? { checksum: 0n, rows: 0 }).toEqual(
              sumsOf(snapshot.rowsByBucket.get(bucket) ?? new Map()),
            );
        } else if (random.chance(0.2))
          await expect(store.readSums(project, history.refs, at)).rejects.toMatchObject({
            code: 'STORE_CHECKPOINT_GONE',
          });
        if (at >= resumeFrom) {
          expect(plainRows(await history.resumed(snapshot, head.at))).toEqual(plainRows(head.rowsByBucket));
          expect(await history.membersAt(snapshot.at)).toEqual([...new Set(snapshot.members.values())].sort());
        } else
          await expect(history.resumed(snapshot, head.at)).rejects.toMatchObject({ code: 'STORE_CHECKPOINT_GONE' });
      }
    }

    test('L5, L9: at every readable checkpoint rows, checksums and membership are what they were, wherever it is cut off', async () => {
      const random = seededRandom();
      for (let round = 0; round < subject.rounds; round++) {
        const history = await begun(random);
        history.truncateShare = round % 2 === 1 ? 0.05 : 0;
        let dropped = 0;
        for (let i = 0; i < 40; i++) {
          await history.step();
          if (random.chance(0.2)) continue;
          // Abandoned after any step, as by a crash; the next pass begins anew.
          let left = random.int(0, 40);
          const bytesMax = random.pick([1, 200, 1 << 20]);
          for await (const step of steps(history, { bytesMax }, random.chance(0.5))) {
            dropped += step.opsDropped;
            if (random.chance(0.2)) await history.step();
            if (left-- === 0) break;
          }
          if (random.chance(0.2)) await check(history, random);
        }
        await pass(history);
        await check(history, random);
        expect(dropped, 'a history without garbage proves nothing').toBeGreaterThan(5);
      }
    });

    test('L5, L9: nothing that can be read changes when small buckets are packed, opened, voided and packed again', async () => {
      const random = seededRandom();
      let packed = 0;
      for (let round = 0; round < 2; round++) {
        const buckets = Array.from({ length: 24 }, (_, n) => n + 1);
        const history = await begun(random, buckets.length);
        await history.commit(new Map(buckets.map((bucket) => [bucket, [{ key: 0, text: `first ${bucket}` }]])));
        for (let i = 0; i < 8; i++) {
          const text = (): string | undefined =>
            random.chance(0.1) ? undefined : `${i} ${'x'.repeat(random.int(0, 40))}`;
          const touched = buckets.filter(() => random.chance(0.2));
          const ops = touched.map((bucket) => [bucket, [{ key: random.int(0, 2), text: text() }]] as const);
          await history.commit(new Map(ops), { truncates: i > 4 && round === 1 && random.chance(0.3), touches: false });
          // The others are at rest for a while.
          for (let j = random.int(2, 6); j > 0; j--) {
            await history.commit(new Map());
            await floorsOf(history);
          }
          let left = random.int(0, 200);
          const bucketsMax = random.pick([12, 100]);
          for await (const step of steps(history, { bucketsMax, bytesMax: 1 << 20 }, random.chance(0.5))) {
            packed += step.packed;
            if (left-- === 0) break;
          }
        }
        await check(history, random);
        await passes(history, settings.readableMs);
        await check(history, random);
      }
      expect(packed > 0).toBe(subject.packs);
    });

    test('L17: a reader that takes its time shows its checkpoint exactly, or is told that it is gone', async () => {
      const random = seededRandom();
      const outcomes = { right: 0, gone: 0 };
      for (let round = 0; round < subject.rounds * 4; round++) {
        const history = await begun(random);
        for (let i = 0; i < 25; i++) {
          await history.step();
          await floorsOf(history);
        }
        const snapshot = history.head;
        const busy = round % 2 === 0;
        const between = async (): Promise<void> => {
          for (let i = busy ? 6 : Number(random.chance(0.1)); i > 0; i--) {
            await history.step();
            await floorsOf(history);
          }
          await pass(history);
        };
        await history.reductionAt(snapshot.at, between).then(
          (shown) => {
            expect(plainRows(shown)).toEqual(plainRows(snapshot.rowsByBucket));
            outcomes.right++;
          },
          (error: unknown) => {
            expect(error).toMatchObject({ code: 'STORE_CHECKPOINT_GONE' });
            outcomes.gone++;
          },
        );
      }
      expect(Math.min(outcomes.right, outcomes.gone)).toBeGreaterThan(0);
    });

    test('L17: a reader that met a row before two passes does not miss that it was removed', async () => {
      const history = await begun(seededRandom());
      await history.commit(new Map([[1, [1, 2].map((key) => ({ key, text: `row ${key}` }))]]));
      await history.commit(new Map([[1, [{ key: 1, text: undefined }]]]));
      for (const end = history.at + 2 * settings.retentionMs; history.at < end; ) {
        await history.commit(new Map());
        await floorsOf(history);
      }
      let dropped = 0;
      const shown = await history.reductionAt(history.at, async () => {
        for (let i = 0; i < 3; i++) dropped += await pass(history);
      });
      expect(plainRows(shown)).toEqual(plainRows(history.head.rowsByBucket));
      expect(dropped).toBeGreaterThan(0);
    });

    test('a pin keeps the checkpoint readable while it lasts, and no longer', async () => {
      const history = await begun(seededRandom());
      for (let i = 0; i < 5; i++) await history.step();
      const pinned = history.head;
      const { epoch, project } = history.driver;
      await subject.store.pinCheckpoint(project, 'gateway', { epoch, lsn: lsn(pinned.at), ttlMs: 60_000 });
      await history.step();
      await passes(history, 4 * settings.readableMs);
      expect(plainRows(await history.reductionAt(pinned.at))).toEqual(plainRows(pinned.rowsByBucket));
      await subject.store.unpinCheckpoint(project, 'gateway');
      await passes(history, settings.readableMs);
      await expect(history.reductionAt(pinned.at)).rejects.toMatchObject({ code: 'STORE_CHECKPOINT_GONE' });
    });

    test.each([
      { name: 'in one step', bytesMax: 1 << 20 },
      { name: 'of a bucket too large for one step', bytesMax: 1 },
    ])(
      'what was changed or deleted is physically gone after the retention and two passes, its key too, $name',
      async ({ bytesMax }) => {
        const history = await begun(seededRandom());
        const { project } = history.driver;
        const secrets = { old: 'changed-value', gone: 'deleted-value' };
        const key = 1_234_567_890;
        await history.commit(
          new Map([
            [
              1,
              [
                { key: 1, text: secrets.old },
                { key, text: secrets.gone },
              ],
            ],
          ]),
        );
        await history.commit(
          new Map([
            [
              1,
              [
                { key: 1, text: 'kept' },
                { key, text: undefined },
              ],
            ],
          ]),
        );
        const keyBytes = Buffer.from(Int32Array.of(key).buffer).toString('latin1');
        expect(await subject.dump(project)).toContain(secrets.old);
        expect(await subject.dump(project)).toContain(keyBytes);
        await passes(history, settings.retentionMs + 6 * settings.readableMs, bytesMax);
        const dump = await subject.dump(project);
        expect(dump).toContain('kept');
        for (const text of [...Object.values(secrets), keyBytes]) expect(dump).not.toContain(text);
        expect(plainRows(await history.reductionAt(history.at))).toEqual(plainRows(history.head.rowsByBucket));
      },
    );

    test('a client that was away for less than the retention learns of what was removed long ago', async () => {
      const history = await begun(seededRandom());
      await history.commit(new Map([[1, [1, 2].map((key) => ({ key, text: `row ${key}` }))]]));
      const away = history.head;
      await history.commit(new Map([[1, [{ key: 1, text: undefined }]]]));
      await passes(history, settings.retentionMs / 2);
      expect((await floorsOf(history)).readFrom).toBeGreaterThan(away.at);
      expect(plainRows(await history.resumed(away, history.at))).toEqual(plainRows(history.head.rowsByBucket));
      await passes(history, settings.retentionMs);
      await expect(history.resumed(away, history.at)).rejects.toMatchObject({ code: 'STORE_CHECKPOINT_GONE' });
    });

    test('the store holds little more than live rows, however often they change', async () => {
      const history = await begun(seededRandom());
      for (let i = 0; i < 200; i++) await history.commit(new Map([[2, [{ key: i % 3, text: `version ${i}` }]]]));
      await passes(history, 4 * settings.readableMs);
      const range = { after: lsn(0), through: lsn(history.at), bytesMax: 1 << 24, cursor: undefined };
      const buckets = [{ stream: history.stream, bucket: bucketId(2) }];
      const { chunks } = await subject.store.readChunks(history.driver.project, { buckets, ...range });
      expect(chunks.reduce((ops, chunk) => ops + chunk.ops, 0)).toBe(3);
    });

    test('L3: a compactor that lost its lease changes nothing', async () => {
      const history = await begun(seededRandom());
      const { store, project, epoch } = history.driver;
      for (let i = 0; i < 20; i++) await history.step();
      const old = await store.acquireCompaction(project, 'old', 60_000);
      expect(await store.acquireCompaction(project, 'new', 60_000)).toBeUndefined();
      if (old === undefined) throw new Error('the lease is free');
      await store.releaseCompaction(project, old);
      const fresh = await store.acquireCompaction(project, 'new', 60_000);
      expect(fresh).toBeGreaterThan(old);
      const fenced = { code: 'STORE_FENCED' };
      const window = { stream: history.stream, readFrom: lsn(history.at), after: undefined, bucketsMax: 10 };
      await expect(store.raiseFloors(project, old, settings)).rejects.toMatchObject(fenced);
      await expect(store.beginPass(project, old)).rejects.toMatchObject(fenced);
      await expect(store.endPass(project, old)).rejects.toMatchObject(fenced);
      await expect(store.packBuckets(project, old, window)).rejects.toMatchObject(fenced);
      await expect(store.sweepStream(project, old, history.stream, 10)).rejects.toMatchObject(fenced);
      const nothing = { stream: history.stream, remove: [], add: [] };
      await expect(store.replaceChunks(project, old, nothing)).rejects.toMatchObject(fenced);
      expect(epoch).toBeGreaterThan(0);
      await store.releaseCompaction(project, fresh as NonNullable<typeof fresh>);
    });

    test('L11: a stream that is not shown yet is left alone', async () => {
      const history = await begun(seededRandom());
      const { driver } = history;
      const fresh = await driver.add('fresh');
      const token = await subject.store.acquireCompaction(driver.project, 'c', 60_000);
      if (token === undefined) throw new Error('the lease is free');
      const change = { stream: fresh, remove: [], add: [] };
      const refused = subject.store.replaceChunks(driver.project, token, change);
      await expect(refused).rejects.toMatchObject({ code: 'STORE_FENCED' });
      await subject.store.releaseCompaction(driver.project, token);
    });
  });
}

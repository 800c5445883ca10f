import { type BucketStore, createMemoryBucketStore } from '@sluice/bucket-store';
import { lsn } from '@sluice/bucket-store/conformance';
import type { ProjectId } from '@sluice/domain';
import { AppError, InvariantError } from '@sluice/errors';
import { createLogger } from '@sluice/telemetry';
import { manualClock, seededRandom } from '@sluice/testkit';
import { expect, test } from 'vitest';
import { plainRows, RecordedHistory } from './compact/history.fixture.ts';
import { createHousekeeper } from './housekeeper.ts';

const settings = { retentionMs: 100, readableMs: 20, roundMs: 1000, giveBackMs: 5000, bucketsMax: 10, bytesMax: 1000 };

/** Projects with histories, and a housekeeper over them on a store whose folding of some projects fails. */
async function housekept(count: number, failures: ReadonlyMap<ProjectId, Error> = new Map()) {
  const clock = manualClock();
  const inner = createMemoryBucketStore(clock);
  const askedAtMs: number[] = [];
  const store: BucketStore = {
    ...inner,
    giveBackSpace: async () => {
      askedAtMs.push(clock.monotonicMs());
      if (askedAtMs.length === 1) throw new AppError('STORE_UNAVAILABLE');
      return 4096;
    },
    replaceChunks: async (project, ...rest) => {
      const failure = failures.get(project);
      if (failure) throw failure;
      return inner.replaceChunks(project, ...rest);
    },
  };
  const random = seededRandom();
  const histories = Array.from({ length: count }, (_, i) => new RecordedHistory(inner, (i + 1) as ProjectId, random));
  for (const history of histories) await history.begin();
  const lines: string[] = [];
  const logger = createLogger({
    level: 'debug',
    service: 'test',
    clock,
    destination: { write: (line) => void lines.push(line) },
  });
  const projects = () => histories.map((history) => history.driver.project);
  const keeper = createHousekeeper({ store, clock, logger, projects, settings });
  const controller = new AbortController();
  const running = keeper.run(controller.signal);
  return {
    ...{ clock, store, histories, lines, askedAtMs },
    rounds: async (times: number, steps: number) => {
      for (let i = 0; i < times; i++) {
        for (const history of histories) for (let j = 0; j < steps; j++) await history.step();
        await clock.advance(settings.roundMs);
      }
    },
    stop: async () => {
      controller.abort();
      await running;
    },
  };
}

async function opsOf({ driver, refs, at }: RecordedHistory): Promise<number> {
  const range = { after: lsn(0), through: lsn(at), bytesMax: 1 << 24, cursor: undefined };
  const { chunks } = await driver.store.readChunks(driver.project, { buckets: refs, ...range });
  return chunks.reduce((ops, chunk) => ops + chunk.ops, 0);
}
const rowsOf = (history: RecordedHistory) =>
  [...history.head.rowsByBucket.values()].reduce((rows, bucket) => rows + bucket.size, 0);

test('L16: every project is kept small while it changes, and shows what it showed', async () => {
  const { histories, rounds, stop } = await housekept(2);
  await rounds(40, 3);
  await stop();
  for (const history of histories) {
    // Live rows, and what changed within the retention.
    expect(await opsOf(history)).toBeLessThan(rowsOf(history) + 120);
    expect(plainRows(await history.reductionAt(history.at))).toEqual(plainRows(history.head.rowsByBucket));
  }
});

test('L17: a project whose chunks do not fit is left alone and said so; others go on', async () => {
  const failures = new Map([[1 as ProjectId, new InvariantError('a directory does not fit its payload')]]);
  const { histories, rounds, stop, lines } = await housekept(2, failures);
  await rounds(40, 3);
  await stop();
  const [broken, whole] = await Promise.all(histories.map(opsOf));
  expect(whole).toBeLessThan(broken ?? 0);
  expect(lines.filter((line) => line.includes('compaction of a project stopped'))).toHaveLength(1);
});

test('a lease that was lost costs a round, no more', async () => {
  const failures = new Map([[1 as ProjectId, new AppError('STORE_FENCED') as Error]]);
  const { histories, rounds, stop, lines } = await housekept(1, failures);
  await rounds(30, 3);
  const [history] = histories;
  if (!history) throw new Error('there is a history');
  const before = await opsOf(history);
  failures.clear();
  await rounds(10, 0);
  await stop();
  expect(await opsOf(history)).toBeLessThan(before);
  expect(lines.some((line) => line.includes('compaction begins anew later'))).toBe(true);
});

test('dropped streams are erased in the background', async () => {
  const { histories, rounds, stop } = await housekept(1);
  const [history] = histories;
  if (!history) throw new Error('there is a history');
  const { driver } = history;
  const fresh = await driver.add('fresh');
  await driver.store.setBackfillPoint(driver.project, driver.token, [fresh], lsn(history.at + 1));
  await driver.barrier(history.at + 1);
  await driver.switchTo([fresh], [history.stream]);
  await driver.barrier(history.at + 2);
  await rounds(2, 0);
  await stop();
  expect((await driver.store.readStreams(driver.project)).map(({ stream }) => stream)).toEqual([fresh]);
});

test('the store is asked now and then to give space back, again after it could not', async () => {
  const { rounds, stop, lines, askedAtMs } = await housekept(1);
  await rounds(17, 0);
  await stop();
  expect(askedAtMs).toHaveLength(3);
  const gaps = askedAtMs.slice(1).map((atMs, i) => atMs - (askedAtMs[i] ?? 0));
  expect(Math.min(...gaps)).toBeGreaterThanOrEqual(5000);
  expect(lines.some((line) => line.includes('space of the bucket store is given back later'))).toBe(true);
  expect(lines.some((line) => line.includes('space of the bucket store given back'))).toBe(true);
});

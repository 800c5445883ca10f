import { type BucketStore, createMemoryBucketStore } from '@sluice/bucket-store';
import type { ProjectId } from '@sluice/domain';
import { manualClock, seededRandom } from '@sluice/testkit';
import { expect, test } from 'vitest';
import { expectConvergence } from './convergence.fixture.ts';

const clock = manualClock();
/** Few: a row that moves without its columns before anybody knows the point of the copy. */
const GIVEN_UP_MAX = 3;

async function expectMostConverge(count: number, storeOf: (i: number) => BucketStore, shards = 1): Promise<void> {
  const random = seededRandom();
  let givenUp = 0;
  for (let i = 1; i <= count; i++) {
    const options = { store: storeOf(i), clock, project: i as ProjectId, transactions: 30, shards };
    const isWhole = await expectConvergence({ ...options, seed: random.int(0, 2 ** 32 - 1) });
    if (!isWhole) givenUp++;
  }
  expect(givenUp).toBeLessThanOrEqual(GIVEN_UP_MAX);
}

test('L3, L7, L9, L10: random histories beside copies, through a queue that loses, repeats, swaps and recuts frames, leave what the tables hold', async () => {
  await expectMostConverge(25, () => createMemoryBucketStore(clock));
}, 60_000);

test('L3, L4, L7, L10: the same at four shards, each with a queue of its own that does so; and who is told of a checkpoint is told what changed', async () => {
  await expectMostConverge(12, () => createMemoryBucketStore(clock), 4);
}, 60_000);

test('L16: frames whose row states come in pages of one byte are applied in pieces, to the same end', async () => {
  await expectMostConverge(12, () => {
    const store = createMemoryBucketStore(clock);
    return { ...store, readRowStates: (project, request) => store.readRowStates(project, { ...request, bytesMax: 1 }) };
  });
}, 60_000);

import { createMemoryBucketStore } from '@sluice/bucket-store';
import type { ProjectId } from '@sluice/domain';
import { manualClock, seededRandom } from '@sluice/testkit';
import { test } from 'vitest';
import { expectConvergence } from './convergence.fixture.ts';

test('L3, L9: random histories through a queue that loses, repeats, swaps and recuts frames leave what the tables hold', async () => {
  const random = seededRandom();
  const clock = manualClock();
  for (let i = 1; i <= 15; i++) {
    const store = createMemoryBucketStore(clock);
    const seed = random.int(0, 2 ** 32 - 1);
    await expectConvergence({ store, clock, project: i as ProjectId, seed, transactions: 30 });
  }
}, 30_000);

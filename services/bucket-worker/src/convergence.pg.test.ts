import { createPostgresBucketStore, migrateBucketStore } from '@sluice/bucket-store';
import type { ProjectId } from '@sluice/domain';
import { freshDatabase, manualClock, seededRandom } from '@sluice/testkit';
import { expect, test } from 'vitest';
import { expectConvergence } from './convergence.fixture.ts';

test('L3, L7, L9, L10: random histories through a queue that misbehaves leave in Postgres what the tables hold', async () => {
  const random = seededRandom();
  await using database = await freshDatabase('worker');
  await migrateBucketStore(database.url);
  const store = createPostgresBucketStore({ url: database.url, poolMax: 3 });
  try {
    for (let i = 1; i <= 6; i++) {
      const size = i % 3 === 0 ? { transactions: 12, shards: 4 } : { transactions: 25, shards: 1 };
      const seed = random.int(0, 2 ** 32 - 1);
      await expectConvergence({ store, clock: manualClock(), project: i as ProjectId, seed, ...size });
    }
    expect(await store.readCheckpoint(99 as ProjectId)).toBeUndefined();
  } finally {
    await store.close();
  }
});

import { createPostgresBucketStore, migrateBucketStore } from '@sluice/bucket-store';
import { freshDatabase, randomFrom, seededRandom } from '@sluice/testkit';
import { describe, it } from 'vitest';
import { randomHistory } from './testing/random-history.ts';

const HISTORIES = 4;

describe('random histories over Postgres', () => {
  it('L9, L12, L13: every client equals the tables at every checkpoint, and never got a row version outside its grant', async () => {
    const random = seededRandom();
    for (let i = 0; i < HISTORIES; i++) {
      await using database = await freshDatabase('gateway');
      await migrateBucketStore(database.url);
      const store = createPostgresBucketStore({ url: database.url, poolMax: 4 });
      try {
        await randomHistory(randomFrom(random.int(0, 2 ** 31)), { store });
      } finally {
        await store.close();
      }
    }
  });
});

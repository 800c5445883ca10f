import { freshDatabase, query } from '@sluice/testkit';
import { migrateBucketStore } from '../sql/migrate.ts';
import { describeBucketStore } from '../testing/conformance.ts';
import { createPostgresBucketStore } from './postgres-bucket-store.ts';

describeBucketStore('postgres', async () => {
  const database = await freshDatabase('bucket_store');
  await migrateBucketStore(database.url);
  const store = createPostgresBucketStore({ url: database.url, poolMax: 4 });
  return {
    store,
    // Leases expire by the server's clock; aging them is the same as waiting.
    passMs: async (ms) => {
      await query(
        database.url,
        `update sluice_store.project set lease_expires_at = lease_expires_at - ${ms} * interval '1 millisecond'`,
      );
    },
    close: async () => {
      await store.close();
      await database[Symbol.asyncDispose]();
    },
  };
});

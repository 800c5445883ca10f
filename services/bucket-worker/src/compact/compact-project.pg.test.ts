import { inflateRawSync } from 'node:zlib';
import { createPostgresBucketStore, migrateBucketStore } from '@sluice/bucket-store';
import { freshDatabase, query } from '@sluice/testkit';
import { describeCompaction } from './compaction.fixture.ts';

describeCompaction('postgres', async () => {
  const database = await freshDatabase('compaction');
  await migrateBucketStore(database.url);
  const store = createPostgresBucketStore({ url: database.url, poolMax: 4 });
  return {
    store,
    rounds: 2,
    packs: true,
    dump: async (project) => {
      const rows = await query<{ bytes: Buffer; is_deflated: boolean }>(
        database.url,
        `select payload as bytes, false as is_deflated from sluice_store.chunk where project = ${project}
        union all select body, format = 1 from sluice_store.pack where project = ${project}
        union all select row_key || value, false from sluice_store.membership where project = ${project}`,
      );
      return rows.map((row) => (row.is_deflated ? inflateRawSync(row.bytes) : row.bytes).toString('latin1')).join();
    },
    close: async () => {
      await store.close();
      await database[Symbol.asyncDispose]();
    },
  };
});

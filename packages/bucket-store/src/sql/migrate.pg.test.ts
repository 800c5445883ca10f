import { createHash } from 'node:crypto';
import { freshDatabase, query } from '@sluice/testkit';
import { expect, test } from 'vitest';
import { migrateBucketStore } from './migrate.ts';
import { STORE_FORMAT_VERSION } from './store-format.ts';

test('processes that start together migrate once, and a second start changes nothing', async () => {
  await using database = await freshDatabase('migrate');
  await Promise.all([1, 2, 3].map(() => migrateBucketStore(database.url)));
  const before = await query(database.url, 'select name, sha256, applied_at from sluice_store.migration order by name');
  await migrateBucketStore(database.url);
  expect(
    await query(database.url, 'select name, sha256, applied_at from sluice_store.migration order by name'),
  ).toEqual(before);
});

test('a migration that was edited after it had been applied is refused', async () => {
  await using database = await freshDatabase('migrate');
  await migrateBucketStore(database.url);
  await query(database.url, `update sluice_store.migration set sha256 = 'other' where name like '0001%'`);
  await expect(migrateBucketStore(database.url)).rejects.toThrow('0001_tables.sql was edited');
});

test('the stored form is that of its version; another form needs another STORE_FORMAT_VERSION', async () => {
  await using database = await freshDatabase('migrate');
  await migrateBucketStore(database.url);
  const form = await query(
    database.url,
    `select c.relname, a.attname, format_type(a.atttypid, a.atttypmod) as type, a.attnotnull, a.attstorage,
      pg_get_expr(d.adbin, d.adrelid) as preset
    from pg_class c
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
    where c.relnamespace = 'sluice_store'::regnamespace and c.relkind = 'r'
    order by c.relname, a.attnum`,
  );
  const keys = await query(
    database.url,
    `select indexdef from pg_indexes where schemaname = 'sluice_store' order by indexdef`,
  );
  const digest = createHash('sha256')
    .update(JSON.stringify([form, keys]))
    .digest('hex');
  expect([STORE_FORMAT_VERSION, digest]).toEqual([
    6,
    'a58da015020b2be272037e6d178e7500b5dff0375ce11b2e2257db438945256d',
  ]);
});

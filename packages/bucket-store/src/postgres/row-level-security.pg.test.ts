import type { ProjectId, StreamNo } from '@sluice/domain';
import { type FreshDatabase, freshCluster, freshDatabase, query } from '@sluice/testkit';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { BucketStore } from '../port.ts';
import { migrateBucketStore, STORE_ROLE } from '../sql/migrate.ts';
import { chunk, lsn, member, StoreDriver, truncate } from '../testing/store-driver.ts';
import { createPostgresBucketStore } from './postgres-bucket-store.ts';

const TABLES = [
  'project',
  'shard_lease',
  'epoch',
  'shard',
  'stream',
  'snapshot_part',
  'compaction',
  'floor',
  'mark',
  'pin',
  'pack',
  'snapshot_range',
  'chunk',
  'membership',
  'truncation',
  'row_state',
  'issue',
];
const owner = 1 as ProjectId;
const stranger = 2 as ProjectId;

/** Leaves a row in every table of compaction. */
async function compacted(store: BucketStore, stream: StreamNo): Promise<void> {
  const token = await store.acquireCompaction(owner, 'compactor', 60_000);
  if (token === undefined) throw new Error('the lease is free');
  const floors = await store.raiseFloors(owner, token, { retentionMs: 0, readableMs: 0 });
  if (!floors) throw new Error('there is a checkpoint');
  const { epoch, readFrom } = floors;
  await store.pinCheckpoint(owner, 'gateway', { epoch, lsn: readFrom, ttlMs: 60_000 });
  const { packed } = await store.packBuckets(owner, token, { stream, readFrom, after: undefined, bucketsMax: 100 });
  expect(packed).toBeGreaterThan(0);
}

describe('L13: row-level security stands behind every statement', () => {
  let database: FreshDatabase;
  let store: BucketStore;
  let client: Client;

  beforeAll(async () => {
    database = await freshDatabase('rls');
    await migrateBucketStore(database.url);
    store = createPostgresBucketStore({ url: database.url, poolMax: 2 });
    const driver = new StoreDriver(store, owner);
    const stream = await driver.serve();
    await driver.barrier(110, {
      chunks: [chunk(stream, 1, 'secret')],
      memberships: [member(stream, { at: { lsn: lsn(110), seq: 1 }, row: 'r', value: 'v' })],
      truncates: [truncate(stream, 105, 1)],
      issues: [{ code: 'ROW_TOO_LARGE', table: 't', count: 1, details: {} }],
      rowStates: {
        revision: 1n,
        writes: [
          {
            ...{ stream, membership: undefined, key: 'k', kind: 'row', position: { lsn: lsn(105), seq: 1 } },
            ...{ sinceLsn: lsn(105), origin: undefined, image: Uint8Array.of(1) },
          },
        ],
      },
    });
    await driver.barrier(111, {
      chunks: Array.from({ length: 10 }, (_, i) => chunk(stream, 100 + i, 'packed secret')),
    });
    await compacted(store, stream);
    await driver.barrier(112, { chunks: [chunk(stream, 1, 'another secret')] });
    const copied = await driver.add('copied');
    await store.setBackfillPoint(owner, driver.token, [copied], lsn(120));
    await store.planCopy(owner, driver.token, [copied], {
      table: 'public.items',
      ranges: [{ lower: undefined, upper: undefined }],
    });
    await store.applySnapshotPart(driver.part(120, 0, { streams: [copied] }));
    client = new Client({ connectionString: database.url });
    await client.connect();
    await client.query(`set role ${STORE_ROLE}`);
  });
  afterAll(async () => {
    await client.end();
    await store.close();
    await database[Symbol.asyncDispose]();
  });

  async function asProject<T>(project: ProjectId, work: () => Promise<T>): Promise<T> {
    await client.query('begin');
    try {
      await client.query("select set_config('sluice.project', $1, true)", [String(project)]);
      return await work();
    } finally {
      await client.query('rollback');
    }
  }
  const countOf = async (table: string): Promise<number> => {
    const { rows } = await client.query<{ count: number }>(`select count(*)::int as count from sluice_store.${table}`);
    return rows[0]?.count ?? -1;
  };

  test.each(TABLES)(
    'without the setting no statement on %s succeeds, before and after a transaction that had it',
    async (table) => {
      const fresh = new Client({ connectionString: database.url });
      await fresh.connect();
      await fresh.query(`set role ${STORE_ROLE}`);
      await expect(fresh.query(`select from sluice_store.${table}`)).rejects.toMatchObject({ code: '42704' });
      await fresh.end();
      await asProject(owner, async () => {});
      await expect(client.query(`select from sluice_store.${table}`)).rejects.toMatchObject({ code: '22P02' });
      await expect(client.query(`delete from sluice_store.${table}`)).rejects.toMatchObject({ code: '22P02' });
    },
  );

  test.each(TABLES)('another project sees and changes no row of %s', async (table) => {
    expect(await asProject(owner, () => countOf(table))).toBeGreaterThan(0);
    expect(await asProject(stranger, () => countOf(table))).toBe(0);
    const changed = await asProject(stranger, async () => {
      const updated = await client.query(`update sluice_store.${table} set project = project`);
      const deleted = await client.query(`delete from sluice_store.${table}`);
      return [updated.rowCount, deleted.rowCount];
    });
    expect(changed).toEqual([0, 0]);
  });

  test('a row cannot be written for, or moved to, another project', async () => {
    const insert =
      'insert into sluice_store.truncation (project, stream, membership, lsn, seq) values ($1, 1, -1, 1, 1)';
    await expect(asProject(stranger, () => client.query(insert, [owner]))).rejects.toMatchObject({ code: '42501' });
    const move = 'update sluice_store.truncation set project = $1';
    await expect(asProject(owner, () => client.query(move, [stranger]))).rejects.toMatchObject({ code: '42501' });
  });

  test('no table of the schema is left out, and the role cannot bypass, own or create', async () => {
    const tables = await query<{ name: string }>(
      database.url,
      `select relname as name from pg_class where relnamespace = 'sluice_store'::regnamespace and relkind in ('r', 'p')
      and relname <> 'migration' and relrowsecurity and relforcerowsecurity order by relname`,
    );
    expect(tables.map(({ name }) => name)).toEqual([...TABLES].sort());
    const [role] = await query(
      database.url,
      `select rolsuper, rolbypassrls, rolcanlogin, rolcreaterole, rolcreatedb,
        has_schema_privilege(rolname, 'sluice_store', 'create') as creates,
        has_table_privilege(rolname, 'sluice_store.migration', 'select') as sees_migrations
      from pg_roles where rolname = '${STORE_ROLE}'`,
    );
    expect(Object.values(role ?? {})).toEqual(Array(7).fill(false));
  });

  test('the store refuses to work under a role that could bypass it', async () => {
    // A cluster of its own: roles are the whole cluster's, and other tests share the usual one.
    await using cluster = await freshCluster();
    await migrateBucketStore(cluster.url);
    await query(cluster.url, `alter role ${STORE_ROLE} bypassrls`);
    const unsafe = createPostgresBucketStore({ url: cluster.url, poolMax: 1 });
    await expect(unsafe.readStreams(owner)).rejects.toThrow('row-level security');
    await unsafe.close();
  });
});

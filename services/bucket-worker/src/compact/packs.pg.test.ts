import { inflateRawSync } from 'node:zlib';
import { type BucketStore, createPostgresBucketStore, migrateBucketStore } from '@sluice/bucket-store';
import { lsn } from '@sluice/bucket-store/conformance';
import type { ProjectId } from '@sluice/domain';
import { type FreshDatabase, freshDatabase, manualClock, query, seededRandom } from '@sluice/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { compactProject } from './compact-project.ts';
import { plainRows, RecordedHistory, sumsOf } from './history.fixture.ts';

const settings = { holder: 'c', retentionMs: 0, readableMs: 0, bucketsMax: 100, bytesMax: 1 << 20 };
const BUCKETS = 140;

let database: FreshDatabase;
let store: BucketStore;
beforeAll(async () => {
  database = await freshDatabase('packs');
  await migrateBucketStore(database.url);
  store = createPostgresBucketStore({ url: database.url, poolMax: 2 });
});
afterAll(async () => {
  await store.close();
  await database[Symbol.asyncDispose]();
});

async function compact(project: ProjectId): Promise<number> {
  let packed = 0;
  for await (const step of compactProject({ store, clock: manualClock(), project }, settings, {
    thoroughAt: undefined,
  }))
    packed += step.packed;
  return packed;
}
/** A history whose every bucket has a row and stands in a pack. */
async function packedHistory(project: ProjectId): Promise<RecordedHistory> {
  const history = new RecordedHistory(store, project, seededRandom(), BUCKETS);
  await history.begin();
  await history.commit(
    new Map(Array.from({ length: BUCKETS }, (_, i) => [i + 1, [{ key: i, text: `row ${i} `.repeat(9) }]])),
  );
  expect(await compact(project)).toBe(BUCKETS);
  expect(await countOf('chunk', project)).toBe(0);
  return history;
}
async function countOf(table: 'chunk' | 'pack', project: ProjectId): Promise<number> {
  const [row] = await query<{ count: number }>(
    database.url,
    `select count(*)::int as count from sluice_store.${table} where project = ${project}`,
  );
  return row?.count ?? -1;
}
async function expectWhole(history: RecordedHistory): Promise<void> {
  const { head } = history;
  expect(plainRows(await history.reductionAt(head.at))).toEqual(plainRows(head.rowsByBucket));
  const sums = await store.readSums(history.driver.project, history.refs, lsn(head.at));
  for (const { bucket } of history.refs)
    expect(sums.get(bucket) ?? { checksum: 0n, rows: 0 }).toEqual(sumsOf(head.rowsByBucket.get(bucket) ?? new Map()));
}

test('a page of many packed buckets, and one of a single bucket, hold each chunk once and whole', async () => {
  const history = await packedHistory(1 as ProjectId);
  await expectWhole(history);
  const range = { after: lsn(0), through: lsn(history.at), bytesMax: 1 << 24, cursor: undefined };
  const { chunks } = await store.readChunks(history.driver.project, { buckets: history.refs, ...range });
  expect(chunks.map(({ bucket }) => bucket)).toEqual(history.refs.map(({ bucket }) => bucket).sort());
  for (const ref of history.refs.slice(0, 3)) {
    const page = await store.readChunks(history.driver.project, { buckets: [ref], ...range });
    expect(page.chunks).toEqual(chunks.filter(({ bucket }) => bucket === ref.bucket));
  }
});

test('packs that were written before they were deflated are read, opened, erased from and written anew', async () => {
  const project = 2 as ProjectId;
  const history = await packedHistory(project);
  const packs = await query<{ first: string; body: Buffer }>(
    database.url,
    `select encode(first_bucket, 'hex') as first, body from sluice_store.pack where project = ${project}`,
  );
  expect(packs.length).toBeGreaterThan(2);
  for (const { first, body } of packs)
    await query(
      database.url,
      `update sluice_store.pack set format = 0, base_lsns = '{}', body = decode('${inflateRawSync(body).toString('hex')}', 'hex')
      where project = ${project} and first_bucket = decode('${first}', 'hex')`,
    );
  await expectWhole(history);
  await history.commit(new Map([[5, [{ key: 4, text: 'changed' }]]]));
  await history.commit(new Map([[6, [{ key: 5, text: undefined }]]]));
  for (let i = 0; i < 4; i++) {
    await history.commit(new Map());
    await compact(project);
    await expectWhole(history);
  }
  const written = await query<{ format: number; body: Buffer }>(
    database.url,
    `select format, body from sluice_store.pack where project = ${project}`,
  );
  const texts = written.map(({ format, body }) => (format === 1 ? inflateRawSync(body) : body).toString('latin1'));
  expect(texts.join()).not.toContain('row 4 row 4');
  expect(texts.join()).not.toContain('row 5 row 5');
  expect(texts.join()).toContain('row 6 row 6');
});

test('a TRUNCATE takes everything out of packs, and a few rows after it stay', async () => {
  const project = 3 as ProjectId;
  const history = await packedHistory(project);
  await history.commit(new Map([[7, [{ key: 1, text: 'after' }]]]), { truncates: true, touches: false });
  for (let i = 0; i < 4; i++) {
    await history.commit(new Map());
    await compact(project);
    await expectWhole(history);
  }
  expect(await countOf('pack', project)).toBe(0);
});

test('indexes that deletes have emptied give their space back, beside reads and writes', async () => {
  const project = 4 as ProjectId;
  const history = new RecordedHistory(store, project, seededRandom(), 1);
  await history.begin();
  await query(
    database.url,
    `insert into sluice_store.chunk (project, stream, lsn, seq, part, checksum_delta, rows_delta, ops, payload_bytes, codec,
      bucket, directory, payload)
    select 4, 99, 1, 0, i, 0, 0, 0, 0, 0, decode(md5(i::text), 'hex'), '', '' from generate_series(1, 30000) as i`,
  );
  await query(database.url, 'delete from sluice_store.chunk where stream = 99');
  await query(database.url, 'vacuum sluice_store.chunk');
  const bytes = async (): Promise<number> => {
    const [row] = await query<{ bytes: number }>(
      database.url,
      "select pg_relation_size('sluice_store.chunk_pkey')::int as bytes",
    );
    return row?.bytes ?? 0;
  };
  const before = await bytes();
  expect(before).toBeGreaterThan(1 << 20);
  const signal = new AbortController().signal;
  const [given] = await Promise.all([
    store.giveBackSpace(signal),
    (async () => {
      for (let i = 0; i < 20; i++) await history.commit(new Map([[1, [{ key: i % 5, text: `${i}` }]]]));
    })(),
  ]);
  expect(given).toBe(before - (await bytes()));
  expect(await bytes()).toBeLessThan(1 << 18);
  await expectWhole(history);
  expect(await store.giveBackSpace(signal)).toBe(0);
});

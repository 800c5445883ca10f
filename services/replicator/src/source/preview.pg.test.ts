import { sourceConnectionFromUrl } from '@sluice/source-connection';
import { parseAndCompile, type StreamPlan } from '@sluice/sync-rules';
import { type FreshDatabase, freshDatabase, query } from '@sluice/testkit';
import { Client } from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { readCatalog } from './catalog.ts';
import { estimateRows, explainRow, previewStreams } from './preview.ts';

const RULES = `
version: 1
streams:
  own_tasks:
    query: SELECT id, title, owner FROM tasks WHERE owner = auth.user_id() AND NOT archived
  team_tasks:
    query: |
      SELECT id, title, owner FROM tasks
      WHERE team IN (SELECT team FROM members WHERE who = auth.user_id() AND left_at IS NULL)
  everything:
    query: SELECT id, title, owner FROM tasks WHERE auth.claim('role') = 'admin'
`;
let database: FreshDatabase;
let streams: readonly StreamPlan[];
const source = () => sourceConnectionFromUrl(database.url);

beforeAll(async () => {
  database = await freshDatabase('preview');
  await query(
    database.url,
    `create table tasks (id int primary key, title text, owner text, team int, archived bool not null default false);
     alter table tasks replica identity full;
     create table members (id int primary key, who text, team int, left_at timestamptz);
     alter table members replica identity full;
     insert into tasks values (1, 'own', 'ann', null, false), (2, 'team', 'bob', 7, false), (3, 'old', 'ann', null, true), (4, repeat('x', 5000), 'eve', 8, false);
     insert into members values (1, 'ann', 7, null), (2, 'ann', 9, null), (3, 'ann', 8, now());
     create table parted (id int primary key) partition by range (id);
     create table part_a partition of parted for values from (0) to (1000);
     insert into parted select generate_series(1, 500); analyze parted; analyze tasks;`,
  );
  const compiled = await parseAndCompile(RULES, await readCatalog(source()));
  if (compiled.kind !== 'ok') throw new Error(JSON.stringify(compiled.diagnostics));
  streams = compiled.rules.streams;
});
afterAll(async () => await database[Symbol.asyncDispose]());

const table = (name: string) => ({ schema: 'public', name });

it('estimates rows by the statistics, partitions together, and knows nothing of a table that is not there', async () => {
  expect(await estimateRows(source(), [table('tasks'), table('parted'), table('no such')])).toEqual([4, 500, 0]);
});

it('L13: shows what a user would get of each stream, and by which memberships', async () => {
  const [own, team, everything] = await previewStreams(source(), streams, { claims: { sub: 'ann' }, rowsMax: 10 });
  expect(own).toMatchObject({ name: 'own_tasks', rows: [['1', 'own', 'ann']], count: 1, isCountExact: true });
  expect(own?.columns).toContainEqual({ name: 'title', pgType: 'text' });
  expect(team).toMatchObject({ rows: [['2', 'team', 'bob']] });
  expect(team?.memberships).toEqual([
    { table: 'public.members', column: 'team', values: ['7', '9'], isComplete: true },
  ]);
  expect(everything).toMatchObject({ rows: [], count: 0, memberships: [] });
});

it('cuts long values and counts beyond the rows that it shows', async () => {
  const claims = { sub: 'ann', role: 'admin' };
  const everything = (await previewStreams(source(), streams, { claims, rowsMax: 2 }))[2];
  expect(everything).toMatchObject({ count: 4, isCountExact: true });
  expect(everything?.rows.map(([id]) => id)).toEqual(['1', '2']);
  const whole = (await previewStreams(source(), streams, { claims, rowsMax: 10 }))[2];
  expect(whole?.rows[3]?.[1]).toHaveLength(1_000);
});

it('says why a user does not see a row: the stream, the value compared and the membership', async () => {
  const ask = { claims: { sub: 'ann' }, table: 'tasks' };
  const { isThere, row, streams: explained } = await explainRow(source(), streams, { ...ask, key: ['4'] });
  expect([isThere, row.owner]).toEqual([true, 'eve']);
  expect(explained.map(({ name, sees }) => [name, sees])).toEqual([
    ['own_tasks', false],
    ['team_tasks', false],
    ['everything', false],
  ]);
  expect(explained[0]?.alternatives[0]).toContainEqual({
    kind: 'claim',
    text: 'owner = auth.user_id()',
    holds: false,
    column: 'owner',
    value: 'eve',
    claim: '"ann"',
    membership: undefined,
  });
  expect(explained[1]?.alternatives[0]).toMatchObject([
    { kind: 'membership', holds: false, membership: { table: 'public.members', values: ['7', '9'] } },
  ]);
  expect(explained[2]?.alternatives[0]).toMatchObject([{ kind: 'token', holds: false, claim: null }]);

  const seen = await explainRow(source(), streams, { ...ask, key: ['2'] });
  expect(seen.streams.map(({ sees }) => sees)).toEqual([false, true, false]);
});

it('says of a row that is not there what the token alone decides', async () => {
  const ask = { claims: { sub: 'ann', role: 'admin' }, table: 'tasks', key: ['99'] };
  const { isThere, row, streams: explained } = await explainRow(source(), streams, ask);
  expect([isThere, row]).toEqual([false, {}]);
  expect(explained.map(({ sees }) => sees)).toEqual([false, false, false]);
  expect(explained[2]?.alternatives[0]).toMatchObject([{ kind: 'token', holds: true }]);
  expect(explained[0]?.alternatives[0]?.[0]?.holds).toBeUndefined();
});

it.each([
  ['a table that is not synced', { table: 'members', key: ['1'] }, 'RULES_TABLE_NOT_SYNCED'],
  ['a key that is no number', { table: 'tasks', key: ['1; drop table tasks'] }, 'RULES_ROW_KEY_INVALID'],
  ['a key of too many parts', { table: 'tasks', key: ['1', '2'] }, 'RULES_ROW_KEY_INVALID'],
  ['a key beyond the type', { table: 'tasks', key: ['99999999999999999999'] }, 'RULES_ROW_KEY_INVALID'],
])('refuses %s', async (_, ask, code) => {
  await expect(explainRow(source(), streams, { claims: {}, ...ask })).rejects.toMatchObject({ code });
});

it('a stream whose rows cannot be read in time says so, and the others are shown', async () => {
  // A lock that is waited for is as slow as a scan that takes too long.
  const blocker = await openBlocker();
  try {
    const previews = await previewStreams(source(), streams.slice(0, 2), { claims: { sub: 'ann' }, rowsMax: 5 });
    expect(previews.map(({ name, code }) => [name, code])).toEqual([
      ['own_tasks', undefined],
      ['team_tasks', 'RULES_PREVIEW_SLOW'],
    ]);
  } finally {
    await blocker();
  }
});

/** Locks `members` until the returned function is called. */
async function openBlocker(): Promise<() => Promise<void>> {
  const client = new Client({ connectionString: database.url });
  await client.connect();
  await client.query('begin; lock table members in access exclusive mode');
  return async () => await client.end();
}

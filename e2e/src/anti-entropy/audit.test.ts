import { query, waitFor } from '@sluice/testkit';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Stack, startStack } from '../stack/stack.ts';
import type { Tenant } from '../stack/tenant.ts';

const TABLES_SQL = `
create table notes (id integer primary key, owner text not null, body text not null);
create table members (id integer primary key, user_id text not null, team text not null);
create table tasks (id integer primary key, team text not null, title text not null);
alter table notes replica identity full;
alter table members replica identity full;
alter table tasks replica identity full;
insert into notes select i, case i % 2 when 0 then 'ana' else 'ben' end, 'note ' || i from generate_series(1, 40) i;
insert into members values (1, 'ana', 'red'), (2, 'ben', 'blue'), (3, 'ana', 'blue');
insert into tasks select i, case i % 2 when 0 then 'red' else 'blue' end, 'task ' || i from generate_series(1, 30) i;
`;
const STREAMS = [
  { name: 'notes', table: 'notes', query: 'SELECT * FROM notes WHERE owner = auth.user_id()' },
  {
    name: 'tasks',
    table: 'tasks',
    query: 'SELECT * FROM tasks WHERE team IN (SELECT team FROM members WHERE user_id = auth.user_id())',
  },
];

let stack: Stack;
let tenant: Tenant;
beforeAll(async () => {
  stack = await startStack({ heartbeatMs: 200, housekeeping: { roundMs: 100, readableMs: 100 } });
  tenant = await stack.addTenant({ ref: 'notes', tablesSql: TABLES_SQL, streams: STREAMS });
});
afterAll(() => stack?.[Symbol.asyncDispose]());

const audit = () => stack.dataPlane.replicator.audit(tenant.project);
const differing = (report: Awaited<ReturnType<typeof audit>>) =>
  report.streams.filter(({ isEqual }) => !isEqual).map(({ name }) => name);
async function streamOf(name: string): Promise<number> {
  const [row] = await query<{ stream: number }>(
    stack.storeUrl,
    `select stream from sluice_store.stream where name = '${name}' and visible_after is not null and dropped_after is null`,
  );
  return row?.stream ?? 0;
}

it('buckets that equal the source stay as they are, while it changes and after they were compacted', async () => {
  const ana = await tenant.connect('ana');
  for (let i = 0; i < 20; i++) await tenant.source.commit(`update notes set body = 'version ${i}' where id % 3 = 0`);
  await tenant.source.commit('delete from tasks where id < 5', "update members set team = 'red' where id = 2");
  const before = [await streamOf('notes'), await streamOf('tasks')];
  let isOver = false;
  const writing = (async () => {
    for (let i = 0; !isOver; i++)
      await tenant.source.commit(`update notes set body = 'meanwhile ${i}' where id % 2 = 0`);
  })();
  const report = await audit().finally(() => {
    isOver = true;
  });
  await writing;
  expect(differing(report)).toEqual([]);
  expect(report.streams.map(({ name }) => name).sort()).toEqual(['notes', 'tasks', 'ticks']);
  expect([await streamOf('notes'), await streamOf('tasks')]).toEqual(before);
  expect(await stack.dataPlane.store.readIssues(tenant.project)).toEqual([]);
  await tenant.expectEqual(ana);
});

it('L17: a row that a bucket lost is found, said, and healed for whoever is connected, by a new generation', async () => {
  const ana = await tenant.connect('ana');
  await tenant.expectEqual(ana);
  const stream = await streamOf('notes');
  // A chunk goes as if it had never been written, its totals with it: nothing that clients check can notice.
  const lost = await query(
    stack.storeUrl,
    `with gone as (select ctid from sluice_store.chunk where stream = ${stream} and rows_delta > 0 limit 1)
    delete from sluice_store.chunk where ctid in (select ctid from gone) returning rows_delta`,
  );
  expect(lost).toHaveLength(1);
  const report = await audit();
  expect(differing(report)).toEqual(['notes']);
  const notes = report.streams.find(({ name }) => name === 'notes');
  expect(notes?.source.rows).toBe(40);
  expect(notes?.served.rows).toBeLessThan(40);
  expect(await streamOf('notes')).toBeGreaterThan(stream);
  const issues = await stack.dataPlane.store.readIssues(tenant.project);
  expect(issues.map(({ code, table }) => [code, table])).toEqual([['STREAM_DIFFERED', 'notes']]);
  const late = await tenant.connect('ben');
  await tenant.expectEqual(ana, late);
});

it('a membership that the store has wrong is found and healed', async () => {
  const stream = await streamOf('tasks');
  await query(
    stack.storeUrl,
    `update sluice_store.membership set present = false where stream = ${stream} and present`,
  );
  expect(differing(await audit())).toEqual(['tasks']);
  const ana = await tenant.connect('ana');
  await tenant.expectEqual(ana);
  await waitFor(async () => (await stack.dataPlane.store.readStreams(tenant.project)).length === 3, {
    what: 'the generations that were replaced to be erased',
    timeoutMs: 20_000,
  });
});

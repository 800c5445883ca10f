import { randomBytes } from 'node:crypto';
import { WRITES_TABLES_SQL } from '@sluice/sync-rules';
import { query } from '@sluice/testkit';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Stack, startStack } from '../stack/stack.ts';
import type { Tenant } from '../stack/tenant.ts';
import { type BrowserStage, openBrowser } from './browser-client.ts';

const ROLE = `app_${randomBytes(5).toString('hex')}`;
const TABLES_SQL = `
create role ${ROLE};
create table tasks (id int primary key, owner text not null, title text, done boolean not null default false, points int check (points < 10));
alter table tasks replica identity full;
insert into tasks values (1, 'ana', 'theirs', false, 1), (2, 'ana', 'theirs too', false, 2);
grant select, insert, update, delete on tasks to ${ROLE};
`;

let stack: Stack;
let tenant: Tenant;
let browser: BrowserStage;

beforeAll(async () => {
  [stack, browser] = await Promise.all([startStack(), openBrowser()]);
  tenant = await stack.addTenant({
    ref: 'writing',
    tablesSql: WRITES_TABLES_SQL + TABLES_SQL,
    streams: [{ name: 'tasks', table: 'tasks', query: 'SELECT * FROM tasks WHERE owner = auth.user_id()' }],
    writes: { role: ROLE, tables: { tasks: 'merge' } },
  });
});
afterAll(async () => {
  const url = tenant?.source.url;
  if (url) await query(url, `drop owned by ${ROLE} cascade`);
  await browser?.[Symbol.asyncDispose]();
  await stack?.[Symbol.asyncDispose]();
});

it('L14 L15: what a page writes offline outlives its reload, meets what others changed meanwhile, and is at the source once', async () => {
  const claims = { sub: 'ana' };
  const at = { tenant, claims, gatewayPort: stack.gatewayPort };
  await using device = await browser.newDevice();
  await using other = await browser.newDevice();
  await device.open(at);
  await other.open(at);
  await device.ready();
  await device.load();
  await device.open({ ...at, connect: false });
  await device.ready();
  await device.write(
    { update: 'tasks', values: { id: 1, title: 'mine' } },
    { insert: 'tasks', values: { id: 3, owner: 'ana', title: 'new' } },
  );
  await device.write({ sql: 'UPDATE tasks SET points = points + 100 WHERE id = ?', parameters: [2] });
  await device.load();
  await tenant.source.commit('update tasks set done = true where id = 1');
  await device.open({ ...at, connect: false });
  await device.ready();
  expect(await device.query('select title, points from tasks order by id')).toEqual([
    { title: 'mine', points: 1 },
    { title: 'theirs too', points: 102 },
    { title: 'new', points: null },
  ]);
  expect((await device.status()).writes).toMatchObject({ pending: 2, rejected: 0 });

  await device.load();
  await device.open(at);
  await device.ready();
  await device.settled();
  await device.expectEqual(tenant, claims);
  await other.expectEqual(tenant, claims);
  expect(await other.query('select title, done, points from tasks order by id')).toEqual([
    { title: 'mine', done: 1, points: 1 },
    { title: 'theirs too', done: 0, points: 2 },
    { title: 'new', done: 0, points: null },
  ]);
  expect(await query(tenant.source.url, 'select seq::int from sluice.client')).toEqual([{ seq: 2 }]);
  const [refused] = await device.rejected();
  expect(refused).toMatchObject({
    code: 'WRITE_CONSTRAINT',
    operations: [{ update: 'tasks', values: { id: 2, points: 102 } }],
  });
  expect(device.complaints).toEqual([]);
});

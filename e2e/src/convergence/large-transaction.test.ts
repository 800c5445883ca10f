import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Stack, startStack } from '../stack/stack.ts';
import type { SyncClient } from '../stack/sync-client.ts';
import type { Tenant } from '../stack/tenant.ts';

const ROWS = 100_000;

let stack: Stack;
let tenant: Tenant;
let clients: readonly SyncClient[];
/** Per client, every different (rows, sum) that it ever showed. */
const shown: string[][] = [];

beforeAll(async () => {
  stack = await startStack();
  tenant = await stack.addTenant({
    ref: 'large',
    tablesSql: `
      create table readings (id int primary key, owner text not null, value int not null, body text not null);
      alter table readings replica identity full;`,
    streams: [{ name: 'readings', table: 'readings', query: 'SELECT * FROM readings WHERE owner = auth.user_id()' }],
  });
  clients = await Promise.all(['ana', 'ben'].map((sub) => tenant.connect(sub)));
  await tenant.caughtUp(...clients);
  clients.forEach(({ sdk }, i) => {
    const states: string[] = [];
    shown[i] = states;
    sdk.live<{ state: string }>(
      "select count(*) || ' rows, sum ' || coalesce(sum(value), 0) state from readings",
      [],
      ([row]) => states.push(row?.state ?? ''),
    );
  });
});
afterAll(() => stack?.[Symbol.asyncDispose]());

it('L4, L12: a transaction of 100,000 rows arrives whole, and so do its update, its move and its deletion', async () => {
  await tenant.source.commit(
    `insert into readings select i, case when i % 2 = 0 then 'ana' else 'ben' end, 1, md5(i::text) from generate_series(1, ${ROWS}) i`,
  );
  await tenant.caughtUp(...clients);
  await tenant.source.commit('update readings set value = 2');
  await tenant.caughtUp(...clients);
  await tenant.source.commit("update readings set owner = 'ana' where owner = 'ben'");
  await tenant.expectEqual(...clients);
  await tenant.source.commit('delete from readings');
  await tenant.expectEqual(...clients);
  const half = ROWS / 2;
  expect(shown[0]).toEqual([
    '0 rows, sum 0',
    `${half} rows, sum ${half}`,
    `${half} rows, sum ${ROWS}`,
    `${ROWS} rows, sum ${2 * ROWS}`,
    '0 rows, sum 0',
  ]);
  expect(shown[1]).toEqual([
    '0 rows, sum 0',
    `${half} rows, sum ${half}`,
    `${half} rows, sum ${ROWS}`,
    '0 rows, sum 0',
  ]);
});

import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Stack, startStack } from '../stack/stack.ts';
import type { SyncClient } from '../stack/sync-client.ts';
import type { Tenant } from '../stack/tenant.ts';
import { textsSent } from '../wire/texts-sent.ts';

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

it.each([
  ['smaller than a page', 400],
  ['of many pages', 4_000],
])(
  'L13: what a transaction of many frames changes again is sent as it was committed, in a stretch %s',
  async (_, rows) => {
    const writing = await stack.addTenant({
      ref: `drafts-${rows}`,
      tablesSql: `
      create table drafts (id int primary key, owner text not null, body text not null);
      alter table drafts replica identity full;
      insert into drafts select i, 'ana', 'old ' || i from generate_series(1, ${rows / 4}) i;`,
      streams: [{ name: 'drafts', table: 'drafts', query: 'SELECT * FROM drafts WHERE owner = auth.user_id()' }],
    });
    const ana = await writing.connect('ana', { tapped: true });
    await writing.caughtUp(ana);
    // Each statement fills some frames.
    const filler = `create temp table filler on commit drop as select repeat('x', 2000) as x`;
    await writing.source.commit(
      filler,
      `insert into drafts select i, 'ana', 'draft ' || i || x from generate_series(${rows + 1}, ${2 * rows}) i, filler`,
      `update drafts set body = 'draft again ' || id || x from filler`,
      `insert into drafts select i, 'nobody', x || x || x from generate_series(1000001, 1001000) i, filler`,
      `update drafts set body = 'final ' || id || x from filler where owner = 'ana'`,
      `update drafts set owner = 'ben' where owner = 'ana' and id % 3 = 0`,
      `delete from drafts where id % 5 = 0`,
    );
    await writing.expectEqual(ana);
    const texts = [...textsSent(ana.tap.messages())];
    expect(texts.filter((text) => text.startsWith('final')).length).toBeGreaterThan(rows / 2);
    expect(texts.filter((text) => text.startsWith('draft')).map((text) => text.slice(0, 20))).toEqual([]);
  },
);

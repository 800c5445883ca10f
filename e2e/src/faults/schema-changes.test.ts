import { waitFor } from '@sluice/testkit';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Stack, startStack } from '../stack/stack.ts';
import type { SyncClient } from '../stack/sync-client.ts';
import type { Tenant } from '../stack/tenant.ts';

const ROWS = 300;
const TABLES_SQL = `
create table parts (id int primary key, owner text not null, size int not null, label text);
create table others (id int primary key, owner text not null, note text);
alter table parts replica identity full;
alter table others replica identity full;
insert into parts select i, (array['ana', 'ben'])[1 + i % 2], i, 'label ' || i from generate_series(1, ${ROWS}) i;
insert into others select i, 'ana', 'note ' || i from generate_series(1, 50) i;
`;
const STREAMS = [
  { name: 'parts', table: 'parts', query: 'SELECT * FROM parts WHERE owner = auth.user_id()' },
  { name: 'others', table: 'others', query: 'SELECT id, note FROM others WHERE owner = auth.user_id()' },
];

let stack: Stack;
let tenant: Tenant;
let client: SyncClient;
let tenants = 0;
/** What the client showed of `parts`: its columns, and the kinds of value in each that has one in every row. */
let shown: string[];

beforeAll(async () => {
  stack = await startStack();
});
afterAll(() => stack?.[Symbol.asyncDispose]());
beforeEach(async () => {
  tenant = await stack.addTenant({ ref: `parts-${++tenants}`, tablesSql: TABLES_SQL, streams: STREAMS });
  client = await tenant.connect('ana', { tapped: true });
  await tenant.expectEqual(client);
  shown = [];
  client.sample(
    () => tenant.streams,
    (state) => {
      const parts = state.get('parts');
      const kinds = parts?.columns.map((column) => {
        const found = new Set(parts.rows.map((row) => typeof row[column]));
        return `${column}:${[...found].toSorted().join('+')}`;
      });
      const line = `${parts?.rows.length} ${kinds?.join(' ')}`;
      if (shown.at(-1) !== line) shown.push(line);
    },
  );
  return () => stack.removeTenant(tenant);
});

const OWN = ROWS / 2;
const BEFORE = `${OWN} id:number owner:string size:number label:string`;

/** Postgres says nothing of a changed table before its next row. */
const TOUCH = "update parts set label = label || '!' where id = 1";

describe('L11, L12: a table that changes under its streams comes again as a whole', () => {
  it('ADD COLUMN with a default: all rows have it at one checkpoint, and none before', async () => {
    await tenant.source.commit("alter table parts add column colour text not null default 'grey'");
    await tenant.source.commit(TOUCH, "update parts set colour = 'red' where id = 3");
    await tenant.becomeEqual(client);
    expect(shown).toEqual([BEFORE, `${OWN} id:number owner:string size:number label:string colour:string`]);
  });

  it('a column of another type: all rows have new values at one checkpoint', async () => {
    await tenant.source.commit("alter table parts alter column size type text using 'size ' || size");
    await tenant.source.commit(TOUCH);
    await tenant.becomeEqual(client);
    expect(shown).toEqual([BEFORE, `${OWN} id:number owner:string size:string label:string`]);
  });

  it('DROP COLUMN and RENAME COLUMN: the table has its new columns at one checkpoint', async () => {
    await tenant.source.commit('alter table parts drop column size');
    await tenant.source.commit(TOUCH);
    await tenant.becomeEqual(client);
    await tenant.source.commit('alter table parts rename column label to title');
    await tenant.source.commit("update parts set title = 'renamed' where id = 2");
    await tenant.becomeEqual(client);
    expect(shown).toEqual([
      BEFORE,
      `${OWN} id:number owner:string label:string`,
      `${OWN} id:number owner:string title:string`,
    ]);
  });

  it('a change in one transaction with rows before and after it', async () => {
    await tenant.source.commit(
      "update parts set label = 'before' where id % 3 = 0",
      'alter table parts add column weight numeric default 1.50, drop column size',
      "update parts set label = 'after', weight = 2.5 where id % 5 = 0",
      "insert into parts (id, owner, label) values (1000, 'ana', 'new')",
    );
    await tenant.becomeEqual(client);
    expect(shown.at(-1)).toBe(`${OWN + 1} id:number owner:string label:string weight:string`);
    expect(shown.filter((line) => line.includes('size') && line.includes('weight'))).toEqual([]);
  });

  it('a change that was made while nobody followed the source is found when the project starts', async () => {
    await stack.dataPlane.stopProject(tenant.project);
    await tenant.source.commit("alter table parts add column colour text not null default 'grey'");
    await tenant.source.commit(TOUCH);
    stack.dataPlane.startProject(tenant.project);
    await tenant.becomeEqual(client);
    expect(shown.at(-1)).toBe(`${OWN} id:number owner:string size:number label:string colour:string`);
  });

  it('a column that no stream reads changes nothing and sends nothing again', async () => {
    const replaced = (): number =>
      client.tap
        .messages()
        .reduce((sum, message) => sum + (message.type === 'checkpoint' ? message.replace.length : 0), 0);
    const before = replaced();
    await tenant.source.commit("alter table others add column hidden text default 'x'");
    await tenant.source.commit("update others set note = 'n', hidden = 'y' where id < 10");
    await tenant.source.commit('alter table others drop column hidden');
    await tenant.source.commit("update others set note = 'm' where id < 10");
    await tenant.expectEqual(client);
    expect(replaced()).toBe(before);
  });

  it('L17: a column that the rules name and that is gone stops the project with its code; rules that fit go on', async () => {
    await tenant.source.commit('alter table others drop column note');
    await tenant.source.writer.query("insert into others values (900, 'ana')");
    await waitFor(() => client.sdk.status().source?.code === 'SCHEMA_CHANGED', {
      what: 'SCHEMA_CHANGED at the client',
    });
    expect(client.sdk.status().source?.state).toBe('stopped');
    expect(await client.sdk.query('select count(*) n from others')).toEqual([{ n: 50 }]);
    await tenant.deploy([
      { name: 'others', table: 'others', query: 'SELECT id FROM others WHERE owner = auth.user_id()' },
    ]);
    await tenant.expectEqual(client);
    await waitFor(() => client.sdk.status().source?.state === 'live', { what: 'the client to be told' });
  });
});

import { freshDatabase, randomFrom, type SeededRandom, seededRandom } from '@sluice/testkit';
import { describe, expect, it } from 'vitest';
import { ReplicatedSource } from '../replication/replicated-source.ts';

/** Bodies are stored out of line, so that updates leave them out. */
const TABLES = ['by_default', 'by_index', 'by_name', 'full'] as const;
type Table = (typeof TABLES)[number];
const schema = `
create table by_default (id int primary key, kind text not null, body text);
create table by_index (id int primary key, kind text not null, body text);
create unique index by_index_key on by_index (kind, id);
alter table by_index replica identity using index by_index_key;
create table by_name (id int not null unique, kind text not null, body text);
alter table by_name replica identity using index by_name_id_key;
create table "full" (id int primary key, kind text not null, body text);
alter table "full" replica identity full;
${TABLES.map((table) => `alter table "${table}" alter column body set storage external;`).join('\n')}
${TABLES.map(
  (table) =>
    `insert into "${table}" select i, 'kind ' || i % 3, repeat('body ' || i, 1000) from generate_series(1, 200) i;`,
).join('\n')}`;
const rulesOf = (tables: readonly string[]): string =>
  `version: 1\nstreams:\n${tables.map((table) => `  ${table}:\n    query: SELECT * FROM "${table}" WHERE kind <> 'hidden'\n`).join('')}`;

const wanted = (table: Table) => `select id, kind, body from "${table}" where kind <> 'hidden'`;
async function showAll(source: ReplicatedSource, tables: readonly Table[] = TABLES): Promise<void> {
  for (const table of tables) await source.shows(table, wanted(table));
}
const each = (sql: (table: string) => string): string => TABLES.map((table) => sql(`"${table}"`)).join(';\n');

/** A statement that succeeds whatever the table holds. */
function statement(random: SeededRandom, table: string): string {
  const id = random.int(1, 230);
  switch (random.int(0, 8)) {
    case 0:
      return `delete from ${table} where id = ${id}`;
    case 1:
      return `insert into ${table} values (${id}, 'kind 1', repeat('new ${random.int(1, 99)}', 1000)) on conflict (id) do nothing`;
    case 2:
      return `update ${table} set id = ${300 + id} where id = ${id} and not exists (select from ${table} where id = ${300 + id})`;
    case 3:
      return `update ${table} set id = ${id} where id = ${300 + id} and not exists (select from ${table} where id = ${id})`;
    case 4:
      return `update ${table} set body = 'short' where id = ${id}`;
    case 5:
      return `update ${table} set kind = 'hidden' where id % 20 = ${id % 20}`;
    default:
      // The body is left out of the WAL.
      return `update ${table} set kind = 'kind ${random.int(0, 2)}' where id between ${id} and ${id + 5}`;
  }
}

describe('replica identities side by side', () => {
  it('L7: updates that leave TOAST out, moved keys, deletes and TRUNCATE show what SQL gives under DEFAULT, INDEX and FULL', async () => {
    await using database = await freshDatabase('identities');
    await using source = new ReplicatedSource(database.url);
    await source.sql(schema);
    source.start();
    await source.deploy(rulesOf(TABLES));
    await showAll(source);
    const steps = [
      (table: string) => `update ${table} set kind = 'changed' where id < 20`,
      (table: string) => `update ${table} set kind = 'hidden' where id < 10`,
      (table: string) => `update ${table} set id = id + 1000 where id between 5 and 30`,
      (table: string) => `update ${table} set kind = 'kind 1' where id > 1000`,
      (table: string) => `delete from ${table} where id % 7 = 0`,
      (table: string) => `update ${table} set id = id + 1000, kind = 'both', body = 'short' where id % 11 = 0`,
      (table: string) => `begin; delete from ${table} where id = 40; insert into ${table} values (40, 'again', 'b');
        update ${table} set kind = 'and again' where id = 40; commit`,
    ];
    for (const step of steps) {
      await source.sql(each(step));
      await showAll(source);
    }
    await source.sql(each((table) => `truncate ${table}`));
    await source.sql(each((table) => `insert into ${table} values (1, 'kind', 'after'), (2, 'hidden', 'after')`));
    await source.sql(each((table) => `update ${table} set kind = 'shown' where id = 2`));
    await showAll(source);
    await source.restart();
    await source.sql(each((table) => `update ${table} set kind = 'restarted'`));
    await showAll(source);
  });

  it('L10: what is written while tables are copied shows what SQL gives, in whatever order copy and stream come', async () => {
    const seeds = seededRandom();
    for (let i = 0; i < 3; i++) {
      const random = randomFrom(seeds.int(0, 2 ** 32 - 1));
      await using database = await freshDatabase(`identities_copy_${i}`);
      await using source = new ReplicatedSource(database.url, { tuning: { partBytesMax: 64 << 10 } });
      await source.sql(schema);
      source.start();
      const made = source.faults.arm('slot created');
      const deploying = source.deploy(rulesOf(TABLES));
      await made.reached;
      const write = async (count: number): Promise<void> => {
        for (let n = 0; n < count; n++) await source.sql(each((table) => statement(random, table)));
      };
      await write(10);
      // A part is sent and the others wait, so that what comes now is applied before they are.
      const sent = source.faults.arm('part sent');
      made.release();
      await sent.reached;
      await write(15);
      sent.release();
      await write(10);
      await deploying;
      await showAll(source);
      await write(10);
      await showAll(source);
    }
  }, 120_000);

  it('L11: so does a new stream, of whose tables something is written before its point is known', async () => {
    await using database = await freshDatabase('identities_later');
    await using source = new ReplicatedSource(database.url);
    await source.sql(schema);
    source.start();
    await source.deploy(rulesOf(['full']));
    const activated = source.faults.arm('streams activated');
    const deploying = source.deploy(rulesOf(TABLES));
    await activated.reached;
    await source.sql(each((table) => `update ${table} set kind = 'early' where id < 50`));
    await source.sql(each((table) => `delete from ${table} where id % 9 = 0`));
    await source.caughtUp();
    activated.release();
    await source.sql(each((table) => `update ${table} set kind = 'late' where id between 40 and 60`));
    await deploying;
    await showAll(source);
    await source.sql(each((table) => `update ${table} set kind = 'later'`));
    await showAll(source);
  });

  it('L11: FULL to DEFAULT copies the streams of the table again, as DEFAULT to FULL does not', async () => {
    await using database = await freshDatabase('identities_changed');
    await using source = new ReplicatedSource(database.url);
    await source.sql(schema);
    source.start();
    await source.deploy(rulesOf(TABLES));
    const streamOf = async (name: Table) => (await source.visibleStream(name)).stream;
    const before = { full: await streamOf('full'), by_default: await streamOf('by_default') };
    await source.sql(`alter table by_default replica identity full; update by_default set kind = 'now full' where id < 50;
      delete from by_default where id > 150`);
    await source.shows('by_default', wanted('by_default'));
    await source.sql(
      `alter table by_default replica identity default; update by_default set id = id + 1000 where id < 50`,
    );
    await source.shows('by_default', wanted('by_default'));
    expect(await streamOf('by_default')).toBe(before.by_default);
    await source.sql(`alter table "full" replica identity default; update "full" set kind = 'no longer full' where id < 50;
      delete from "full" where id > 150`);
    await source.shows('full', wanted('full'));
    expect(await streamOf('full')).not.toBe(before.full);
    await source.sql(`update "full" set id = id + 1000 where id < 50`);
    await showAll(source);
  });

  it('L6: at four shards each keeps the states of its rows; a key that changes shards without its columns copies again (L17)', async () => {
    await using database = await freshDatabase('identities_sharded');
    await using source = new ReplicatedSource(database.url, { shards: 4, tuning: { partBytesMax: 64 << 10 } });
    await source.sql(schema);
    source.start();
    await source.deploy(rulesOf(TABLES));
    for (const step of [
      (table: string) => `update ${table} set kind = 'changed' where id < 20`,
      (table: string) => `delete from ${table} where id % 7 = 0`,
      (table: string) => `update ${table} set kind = 'hidden' where id % 9 = 0`,
      (table: string) => `update ${table} set id = id + 1000, body = 'sent' where id % 11 = 0`,
    ]) {
      await source.sql(each(step));
      await showAll(source);
    }
    await source.sql(
      each((table) => `truncate ${table}; insert into ${table} values (1, 'kind', repeat('long', 2000))`),
    );
    await showAll(source);
    await source.sql(each((table) => `update ${table} set id = 2`));
    await showAll(source);
  });
});

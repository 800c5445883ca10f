import { freshDatabase, waitFor } from '@sluice/testkit';
import { describe, expect, it } from 'vitest';
import { ReplicatedSource } from '../replication/replicated-source.ts';

const rules = 'version: 1\nstreams:\n  events:\n    query: SELECT id, year, body FROM events\n';
const all = 'select id, year, body from events';
const schema = `create table events (id int, year int, body text, primary key (id, year)) partition by list (year);
  create table events_2023 partition of events for values in (2023);
  create table events_2024 partition of events for values in (2024) partition by range (id);
  create table events_2024_a partition of events_2024 for values from (0) to (1000);
  create table events_2024_b (body text, year int not null, junk int, id int not null, primary key (id, year));
  alter table events_2024_b drop column junk;
  alter table events_2024 attach partition events_2024_b for values from (1000) to (2000);
  alter table events replica identity full; alter table events_2023 replica identity full;
  alter table events_2024 replica identity full; alter table events_2024_a replica identity full;
  alter table events_2024_b replica identity full;
  insert into events select i, 2023 + i % 2, 'body ' || i from generate_series(1, 1500) i where i < 1000 or i % 2 = 1;`;

async function followed(url: string): Promise<ReplicatedSource> {
  const source = new ReplicatedSource(url);
  await source.sql(schema);
  source.start();
  await source.deploy(rules);
  await source.shows('events', all);
  return source;
}
async function generation(source: ReplicatedSource): Promise<number> {
  return (await source.visibleStream('events')).stream;
}

describe('a partitioned table', () => {
  it('L6: is one table, whichever partition a row is in, comes to or goes through', async () => {
    await using database = await freshDatabase('partitions');
    await using source = await followed(database.url);
    const first = await generation(source);
    await source.sql(
      `insert into events values (1800, 2024, 'in the partition of other columns'), (1802, 2024, 'new')`,
    );
    await source.sql('update events set year = 2024 where year = 2023 and id < 100');
    await source.sql(`update events set body = 'changed' where id between 200 and 300`);
    await source.sql('delete from events where id between 400 and 500');
    await source.sql(`insert into events_2023 values (5000, 2023, 'by the name of the partition')`);
    await source.shows('events', all);
    await source.restart();
    await source.sql('delete from events where id > 900');
    await source.shows('events', all);
    expect(await generation(source)).toBe(first);
  });

  it('L11: TRUNCATE of it empties it, and what comes later is shown', async () => {
    await using database = await freshDatabase('partitions_truncate');
    await using source = await followed(database.url);
    await source.sql('truncate events');
    await source.sql(`insert into events values (1, 2023, 'after')`);
    await source.shows('events', all);
  });

  it.each([
    ['TRUNCATE of a partition', 'truncate events_2023'],
    ['DETACH of a partition', 'alter table events detach partition events_2023'],
    ['DROP of a partition', 'drop table events_2023'],
    [
      'ATTACH of a partition with rows',
      `create table events_2025 (like events including all); alter table events_2025 replica identity full;
       insert into events_2025 values (7, 2025, 'brought along');
       alter table events attach partition events_2025 for values in (2025)`,
    ],
    [
      'a partition that is made, filled and attached by one transaction',
      `begin; create table events_2025 (like events including all); alter table events_2025 replica identity full;
       insert into events_2025 values (7, 2025, 'brought along');
       alter table events attach partition events_2025 for values in (2025); commit`,
    ],
  ])('L11: %s, which the stream does not tell, is seen in the catalog and copied again', async (_, sql) => {
    await using database = await freshDatabase('partitions_changed');
    await using source = await followed(database.url);
    const first = await generation(source);
    await source.sql(sql);
    await source.shows('events', all);
    expect(await generation(source)).not.toBe(first);
    expect((await source.source()).serving?.epoch).toBe(1);
    await source.sql(`insert into events values (1999, 2024, 'later')`);
    await source.shows('events', all);
  });

  it('L11: such a change is found after nobody was connected when it happened', async () => {
    await using database = await freshDatabase('partitions_away');
    await using source = await followed(database.url);
    await source.stop();
    await source.sql('truncate events_2024_a');
    await source.restart();
    await source.shows('events', all);
  });

  it('L11: a partition that is empty when it comes costs no copy', async () => {
    await using database = await freshDatabase('partitions_new');
    await using source = await followed(database.url);
    const first = await generation(source);
    await source.sql(`begin; create table events_2025 partition of events for values in (2025);
      alter table events_2025 replica identity full; commit`);
    await source.sql(`insert into events select i, 2025, 'streamed' from generate_series(1, 50) i`);
    await source.shows('events', all);
    await source.restart();
    await source.sql(`update events set body = 'changed' where year = 2025`);
    await source.shows('events', all);
    await source.caughtUp();
    expect(await generation(source)).toBe(first);
  });

  it('L17: a partition without the whole old row stops the project until it has one', async () => {
    await using database = await freshDatabase('partitions_identity');
    await using source = await followed(database.url);
    await source.sql(`create table events_2025 partition of events for values in (2025);
      insert into events values (1, 2025, 'a'); update events set body = 'without its old image' where year = 2025`);
    await waitFor(async () => (await source.source()).condition.code === 'SOURCE_REPLICA_IDENTITY', {
      what: 'the code',
    });
    const failed = (await source.replicator.preflight(source.connection, [{ schema: 'public', name: 'events' }])).find(
      ({ ok }) => !ok,
    );
    expect(failed).toMatchObject({ check: 'replica-identity', code: 'SOURCE_REPLICA_IDENTITY' });
    await source.sql(failed?.sql ?? '');
    await source.shows('events', all);
  });
});

it('L17: a table that another begins to inherit from stops the project until it ends', async () => {
  await using database = await freshDatabase('inherited');
  await using source = new ReplicatedSource(database.url);
  await source.sql(`create table animals (id int primary key, name text); alter table animals replica identity full;
    insert into animals values (1, 'first')`);
  source.start();
  await source.deploy('version: 1\nstreams:\n  animals:\n    query: SELECT id, name FROM animals\n');
  await source.sql('create table cats (claws int) inherits (animals)');
  await waitFor(async () => (await source.source()).condition.code === 'SCHEMA_CHANGED', { what: 'the code' });
  await source.sql('alter table cats no inherit animals');
  await source.sql(`insert into animals values (2, 'later')`);
  await source.shows('animals', 'select id, name from only animals');
});

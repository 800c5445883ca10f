import { freshCluster, freshDatabase, query, testConfig, waitFor } from '@sluice/testkit';
import { describe, expect, it } from 'vitest';
import { ReplicatedSource } from '../replication/replicated-source.ts';

/** The embedded server is 18. The others are fetched by setup-tools; the oldest of them stands for them in the short lane. */
const isLong = testConfig().lane === 'long';
const majors = isLong ? [14, 15, 16, 17, undefined] : [15];
const refusedMajors = isLong ? [13] : [];
const rules = 'version: 1\nstreams:\n  notes:\n    query: SELECT * FROM notes\n';
const schema = `create table notes (id int primary key, body text, at timestamptz, twice int generated always as (id * 2) stored);
  alter table notes replica identity full; alter table notes alter column body set storage external;
  insert into notes (id, body, at) select i, repeat('body ' || i, 600), null from generate_series(1, 300) i;`;
/** In the forms of docs/types.md. */
const all = `select id, body, to_char(at at time zone 'utc', 'YYYY-MM-DD HH24:MI:SS+00:00') as at from notes`;

describe.each(majors)('Postgres %s as a source', (major) => {
  it('L2, L11: is copied, followed through every kind of change, restarted and lost', async () => {
    await using cluster = await freshCluster(
      { wal_keep_size: 0, max_wal_size: '32MB', min_wal_size: '32MB' },
      major === undefined ? {} : { major },
    );
    await using database = await freshDatabase('version', cluster);
    await using source = new ReplicatedSource(database.url);
    await source.sql(schema);
    const checks = await source.replicator.preflight(source.connection, [{ schema: 'public', name: 'notes' }]);
    expect(checks.filter(({ ok }) => !ok)).toEqual([]);
    source.start();
    await source.deploy(rules);
    await source.shows('notes', all);
    await writeEverything(source);
    await source.shows('notes', all);
    await source.sql('truncate notes');
    await source.sql(`insert into notes (id, body, at) values (1, 'after the truncate', '2024-02-29 12:00:00+00')`);
    await source.shows('notes', all);
    await source.restart();
    await source.sql(`insert into notes (id, body, at) values (2, 'after the restart', null)`);
    await source.shows('notes', all);
    expect((await source.source()).serving?.epoch).toBe(1);
    await changeTable(source);
    await loseSlot(source, cluster.url);
  });
});

async function writeEverything(source: ReplicatedSource): Promise<void> {
  await source.sql(`insert into notes (id, body, at) values (1000, 'new', '2024-02-29 12:00:00+00')`);
  // A value that is stored out of line and not touched: only the old image has it.
  await source.sql(`update notes set at = '2024-03-01 00:00:00+00' where id <= 100`);
  await source.sql('update notes set id = id + 2000 where id between 101 and 150');
  await source.sql('delete from notes where id between 151 and 160');
  await source.sql(`begin; insert into notes (id, body, at) values (5000, 'never', null); rollback`);
  await source.sql(`begin; insert into notes (id, body, at) values (5001, 'a', null); savepoint s; insert into notes (id, body, at) values (5002, 'never', null);
    rollback to savepoint s; insert into notes (id, body, at) values (5003, 'b', null); commit`);
}

async function changeTable(source: ReplicatedSource): Promise<void> {
  await source.sql(`alter table notes add column extra text default 'filled in'`);
  await source.sql(`insert into notes (id, body, at, extra) values (3, 'with the column', null, 'given')`);
  await source.shows('notes', `${all.replace(' from', ', extra from')}`);
  await source.sql('alter table notes drop column extra');
  await source.shows('notes', all);
}

/** The server gives the slot up, as it does when a slot keeps more WAL than it may. */
async function loseSlot(source: ReplicatedSource, adminUrl: string): Promise<void> {
  const { epoch = 0 } = (await source.source()).serving ?? {};
  await source.stop();
  await query(adminUrl, `alter system set max_slot_wal_keep_size = '1MB'`);
  await query(adminUrl, 'select pg_reload_conf()');
  await waitFor(
    async () => {
      await source.sql('create table if not exists filler (t text)');
      await source.sql('insert into filler select md5(i::text) from generate_series(1, 100000) i');
      await source.sql('drop table filler; select pg_switch_wal()');
      await source.sql('checkpoint');
      return (await source.sql(`select 1 from pg_replication_slots where wal_status = 'lost'`)).length > 0;
    },
    { what: 'the slot to be lost', timeoutMs: 30_000 },
  );
  await query(adminUrl, 'alter system reset max_slot_wal_keep_size');
  await query(adminUrl, 'select pg_reload_conf()');
  await source.sql(`insert into notes (id, body, at) values (4, 'while nobody listened', null)`);
  await source.restart();
  await waitFor(async () => ((await source.source()).serving?.epoch ?? 0) > epoch, { what: 'a new epoch to serve' });
  await source.shows('notes', all);
}

it.each(refusedMajors)('Postgres %s, whose slots do not carry our messages, is refused', async (major) => {
  await using cluster = await freshCluster({}, { major });
  await using source = new ReplicatedSource(cluster.url);
  const failed = (await source.replicator.preflight(source.connection)).filter(({ ok }) => !ok);
  expect(failed.map(({ code }) => code)).toEqual(['SOURCE_VERSION']);
});

import { Secret } from '@sluice/config';
import { freshCluster, freshDatabase, tcpProxy, waitFor } from '@sluice/testkit';
import { describe, expect, it } from 'vitest';
import { ReplicatedSource } from './replicated-source.ts';

const rules = 'version: 1\nstreams:\n  notes:\n    query: SELECT id, body FROM notes\n';
const schema = 'create table notes (id int primary key, body text); alter table notes replica identity full;';
const all = 'select id, body from notes';

async function conditionIs(source: ReplicatedSource, state: string, code: string): Promise<void> {
  await waitFor(
    async () => {
      const { condition } = await source.source();
      return condition.state === state && condition.code === code;
    },
    { what: `the source to be ${state} ${code}`, timeoutMs: 15_000 },
  );
}

describe('a source that fails', () => {
  it('is stalled with a code while it cannot be reached, and goes on by itself', async () => {
    await using database = await freshDatabase('unreachable');
    await using proxy = await tcpProxy({ port: Number(new URL(database.url).port) });
    await using source = new ReplicatedSource(database.url);
    source.via = { port: proxy.port };
    await source.sql(`${schema} insert into notes values (1, 'first')`);
    source.start();
    await source.deploy(rules);
    proxy.refuse();
    await conditionIs(source, 'stalled', 'SOURCE_UNREACHABLE');
    expect(await source.rows('notes')).toEqual([[1, 'first']]);
    await source.sql(`insert into notes values (2, 'meanwhile')`);
    proxy.heal();
    await source.shows('notes', all);
    await conditionIs(source, 'live', '');
    expect((await source.source()).serving?.epoch).toBe(1);
  });

  it('is stopped with a code when its password changes, and goes on with the new one', async () => {
    await using database = await freshDatabase('password');
    await using source = new ReplicatedSource(database.url);
    await source.sql(`${schema} insert into notes values (1, 'first')`);
    source.start();
    await source.deploy(rules);
    source.via = { password: new Secret('no longer right') };
    await source.sql('select pg_terminate_backend(pid) from pg_stat_activity where application_name = $1', ['sluice']);
    await conditionIs(source, 'stopped', 'SOURCE_PASSWORD');
    source.via = {};
    await source.sql(`insert into notes values (2, 'with the new password')`);
    await source.shows('notes', all);
    await conditionIs(source, 'live', '');
  });

  it('can shut down in order while it is followed', async () => {
    await using cluster = await freshCluster();
    await using source = new ReplicatedSource(cluster.url);
    await source.sql(`${schema} insert into notes values (1, 'first')`);
    source.start();
    await source.deploy(rules);
    await source.sql(`insert into notes values (2, 'before the shutdown')`);
    // An orderly shutdown waits for every WAL sender.
    await cluster.stop();
    await conditionIs(source, 'stalled', 'SOURCE_UNREACHABLE');
    expect(await source.rows('notes')).toContainEqual([1, 'first']);
  });

  it('L16: a WAL budget that is passed costs the slot, not the disk', async () => {
    await using database = await freshDatabase('budget');
    await using source = new ReplicatedSource(database.url, { tuning: { walBytesMax: 4 << 20 } });
    await source.sql(`${schema} insert into notes values (1, 'first')`);
    source.start();
    await source.deploy(rules);
    await source.stop();
    await source.sql(`create table elsewhere as select repeat(md5(i::text), 20) from generate_series(1, 20000) i`);
    await source.sql('create index on elsewhere (repeat)');
    const stopped = conditionIs(source, 'stopped', 'SOURCE_WAL_BUDGET');
    // Without a worker nothing is confirmed.
    source.start({ worker: false });
    await stopped;
    expect(await source.rows('notes')).toEqual([[1, 'first']]);
    await source.restart();
    await waitFor(async () => ((await source.source()).serving?.epoch ?? 0) > 1, {
      what: 'a new epoch',
      timeoutMs: 15_000,
    });
    await source.shows('notes', all);
  });

  it('L6: rows that are too large are left out by copy and stream alike, and reported', async () => {
    await using database = await freshDatabase('oversized');
    await using source = new ReplicatedSource(database.url, { tuning: { rowBytesMax: 100_000 } });
    const large = `(select string_agg(md5(i::text), '') from generate_series(1, 4000) i)`;
    await source.sql(`${schema} insert into notes values (1, 'small'), (2, ${large})`);
    source.start();
    await source.deploy(rules);
    const small = `${all} where length(body) < 100000`;
    await source.shows('notes', small);
    await source.sql(`insert into notes values (3, ${large}), (4, 'small')`);
    await source.sql(`update notes set body = ${large} where id = 1`);
    await source.sql(`update notes set body = 'small again' where id = 2`);
    await source.shows('notes', small);
    await conditionIs(source, 'live', 'SOURCE_ROW_OVERSIZED');
    await source.sql(`update notes set id = id + 10; delete from notes where id = 13`);
    await source.shows('notes', small);
  });
});

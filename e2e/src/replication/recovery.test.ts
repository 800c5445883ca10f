import { freshDatabase, waitFor } from '@sluice/testkit';
import { Client } from 'pg';
import { describe, expect, it } from 'vitest';
import { ReplicatedSource } from './replicated-source.ts';

const rules = 'version: 1\nstreams:\n  notes:\n    query: SELECT id, body FROM notes\n';
const schema = 'create table notes (id int primary key, body text); alter table notes replica identity full;';
const all = 'select id, body from notes';

async function deployed(url: string): Promise<ReplicatedSource> {
  const source = new ReplicatedSource(url);
  await source.sql(`${schema} insert into notes values (1, 'first')`);
  source.start();
  await source.deploy(rules);
  return source;
}
async function slotOf(source: ReplicatedSource): Promise<string> {
  return String(
    (await source.sql('select slot_name from pg_replication_slots where database = current_database()'))[0]?.slot_name,
  );
}
/** Waits until a later epoch serves; what it was for is kept in the log alone. */
async function nextEpoch(source: ReplicatedSource, epoch: number): Promise<void> {
  await waitFor(async () => ((await source.source()).serving?.epoch ?? 0) > epoch, {
    what: 'a new epoch to serve',
    timeoutMs: 15_000,
  });
}

describe('a source whose history breaks', () => {
  it('L2: a dropped slot begins a new epoch, and the old one serves until it is complete', async () => {
    await using database = await freshDatabase('slot_dropped');
    await using source = await deployed(database.url);
    const slot = await slotOf(source);
    const loading = source.faults.arm('streams loaded');
    await source.sql(`select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = '${slot}'`);
    await waitFor(async () => (await source.sql(`select pg_drop_replication_slot('${slot}')`)).length === 1, {
      what: 'the slot to be dropped',
      intervalMs: 1,
    });
    await source.sql(`insert into notes values (2, 'never streamed'); delete from notes where id = 1`);
    await loading.reached;
    expect((await source.source()).condition).toMatchObject({ state: 'loading', code: 'SLOT_LOST' });
    expect(await source.rows('notes')).toEqual([[1, 'first']]);
    loading.release();
    await nextEpoch(source, 1);
    await source.shows('notes', all);
    await waitFor(async () => (await source.source()).condition.state === 'live', { what: 'the source to be live' });
    expect(await source.sql('select count(*)::int as n from pg_publication')).toEqual([{ n: 1 }]);
  });

  it('L2: a slot that somebody moved ahead begins a new epoch', async () => {
    await using database = await freshDatabase('slot_moved');
    await using source = await deployed(database.url);
    await source.stop();
    await source.sql(`insert into notes values (2, 'skipped')`);
    const slot = await slotOf(source);
    await waitFor(
      async () =>
        (await source.sql(`select pg_replication_slot_advance('${slot}', pg_current_wal_insert_lsn())`)).length === 1,
      { what: 'the slot to be moved' },
    );
    await source.restart();
    await nextEpoch(source, 1);
    await source.shows('notes', all);
  });

  it('a publication that somebody drops or narrows begins a new epoch', async () => {
    await using database = await freshDatabase('publication');
    await using source = await deployed(database.url);
    const publication = (await source.source()).serving?.identity.publication;
    await source.sql(`alter publication ${publication} drop table notes; insert into notes values (2, 'never sent')`);
    await nextEpoch(source, 1);
    await source.shows('notes', all);
    const epoch = (await source.source()).serving?.epoch ?? 0;
    await source.sql(`drop publication ${(await source.source()).serving?.identity.publication}`);
    await nextEpoch(source, epoch);
    await source.shows('notes', all);
  });

  it('L3: a slot that a zombie still streams is taken from it', async () => {
    await using database = await freshDatabase('zombie');
    await using source = await deployed(database.url);
    await source.stop();
    const slot = await slotOf(source);
    const publication = (await source.source()).serving?.identity.publication;
    const zombie = new Client({ connectionString: database.url, replication: 'database' } as object);
    zombie.on('error', () => {});
    await zombie.connect();
    const streaming = zombie.query(
      `START_REPLICATION SLOT ${slot} LOGICAL 0/0 (proto_version '1', publication_names '${publication}')`,
    );
    const ended = streaming.catch((error: unknown) => error);
    await waitFor(
      async () =>
        (await source.sql(`select 1 from pg_replication_slots where slot_name = '${slot}' and active`)).length === 1,
      { what: 'the zombie to stream' },
    );
    await source.restart();
    await source.sql(`insert into notes values (2, 'after the zombie')`);
    await source.shows('notes', all);
    expect(await ended).toBeInstanceOf(Error);
    expect((await source.source()).serving?.epoch).toBe(1);
  });

  for (const step of ['epoch intended', 'publication created', 'slot created', 'part sent', 'streams loaded']) {
    it(`a first load that is cut off at "${step}" is begun anew and leaves one slot`, async () => {
      await using database = await freshDatabase('cut_off');
      await using source = new ReplicatedSource(database.url);
      await source.sql(`${schema} insert into notes select i, 'row' from generate_series(1, 100) i`);
      source.start();
      const cut = source.crashAt(step);
      const deploying = source.deploy(rules).catch((error: unknown) => error);
      await cut.reached;
      await source.restart();
      expect(await deploying).toMatchObject({ code: 'REPLICATOR_STOPPED' });
      await source.sql('delete from notes where id > 50');
      await source.deploy(rules);
      await source.shows('notes', all);
      expect(
        await source.sql('select count(*)::int as n from pg_replication_slots where database = current_database()'),
      ).toEqual([{ n: 1 }]);
      expect(await source.sql('select count(*)::int as n from pg_publication')).toEqual([{ n: 1 }]);
    });
  }

  it('names the transaction that keeps a slot from being made, and goes on when it ends', async () => {
    await using database = await freshDatabase('blocked');
    await using source = new ReplicatedSource(database.url, { tuning: { slotDeadlineMs: 500 } });
    await source.sql(`${schema} insert into notes values (1, 'first')`);
    const blocker = new Client({ connectionString: database.url });
    await blocker.connect();
    const [backend] = (
      (await blocker.query('begin; select pg_current_xact_id(), pg_backend_pid() as pid')) as unknown as {
        rows: { pid: number }[];
      }[]
    ).flatMap(({ rows }) => rows);
    source.start();
    await expect(source.deploy(rules)).rejects.toMatchObject({ code: 'SLOT_BLOCKED', details: { pid: backend?.pid } });
    await blocker.query('rollback');
    await blocker.end();
    await source.deploy(rules);
    await source.shows('notes', all);
    expect(
      await source.sql('select count(*)::int as n from pg_replication_slots where database = current_database()'),
    ).toEqual([{ n: 1 }]);
  });
});

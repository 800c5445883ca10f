import { execFile } from 'node:child_process';
import { rm, writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import type { Lsn } from '@sluice/domain';
import { type PostgresServer, startPostgres } from '@sluice/embedded-postgres';
import { AppError } from '@sluice/errors';
import { freshCluster, freshDatabase, waitFor } from '@sluice/testkit';
import { describe, expect, it } from 'vitest';
import { project, ReplicatedSource } from '../replication/replicated-source.ts';

const rules = 'version: 1\nstreams:\n  notes:\n    query: SELECT id, body FROM notes\n';
const schema = 'create table notes (id int primary key, body text); alter table notes replica identity full;';
const all = 'select id, body from notes';
const timeout = 60_000;

async function deployed(url: string): Promise<ReplicatedSource> {
  const source = new ReplicatedSource(url);
  await source.sql(`${schema} insert into notes values (1, 'first')`);
  source.start();
  await source.deploy(rules);
  return source;
}
async function slotOf(source: ReplicatedSource): Promise<string> {
  const identity = ((await source.source()).serving ?? (await source.source()).building)?.identity;
  if (!identity) throw new Error('there is no slot yet');
  return identity.slot;
}
async function epochOf(source: ReplicatedSource): Promise<number> {
  return (await source.source()).serving?.epoch ?? 0;
}

/** Starts the stopped source again, and sees that what was shown last is shown until everything was copied anew, all at once. */
async function isCopiedAnew(source: ReplicatedSource, shown: unknown[][], code: string): Promise<void> {
  const loaded = source.faults.arm('streams loaded');
  source.start();
  await loaded.reached;
  expect((await source.source()).condition).toMatchObject({ state: 'loading', code });
  expect(await source.rows('notes')).toEqual(shown);
  expect(await epochOf(source)).toBe(1);
  loaded.release();
  await waitFor(async () => (await epochOf(source)) > 1, { what: 'a new epoch to serve', timeoutMs: 20_000 });
  await source.shows('notes', all);
}

/** More WAL than a small budget allows, and a checkpoint that looks at it. */
async function writeMuch(source: ReplicatedSource): Promise<void> {
  for (let segment = 0; segment < 5; segment++)
    await source.sql(`select pg_logical_emit_message(true, 'other', 'x'); select pg_switch_wal()`);
  await source.sql('checkpoint');
}

describe('a slot that cannot be followed any more', () => {
  it('L2: that the server gave up for its WAL begins a new epoch', { timeout }, async () => {
    await using cluster = await freshCluster({ max_slot_wal_keep_size: '16MB', max_wal_size: '64MB' });
    await using source = await deployed(cluster.url);
    await source.stop();
    await source.sql(`insert into notes values (2, 'lost with its WAL')`);
    await writeMuch(source);
    const [slot] = await source.sql(`select wal_status from pg_replication_slots where slot_name = $1`, [
      await slotOf(source),
    ]);
    expect(slot).toEqual({ wal_status: 'lost' });
    await isCopiedAnew(source, [[1, 'first']], 'SLOT_LOST');
  });

  it('L2: that somebody made again under its name begins a new epoch', { timeout }, async () => {
    await using database = await freshDatabase('made_again');
    await using source = await deployed(database.url);
    await source.stop();
    const slot = await slotOf(source);
    await source.sql(`select pg_drop_replication_slot('${slot}')`);
    await source.sql(`insert into notes values (2, 'between the two slots')`);
    await source.sql(`select pg_create_logical_replication_slot('${slot}', 'pgoutput')`);
    await isCopiedAnew(source, [[1, 'first']], 'SOURCE_HISTORY_CHANGED');
  });

  it('L2: that somebody moved during the first copy, before anything was durable, begins a new epoch', {
    timeout,
  }, async () => {
    await using database = await freshDatabase('moved_early');
    await using source = new ReplicatedSource(database.url, { tuning: { partBytesMax: 500 } });
    await source.sql(`${schema} insert into notes select i, 'row' from generate_series(1, 200) i`);
    source.start({ worker: false });
    const cut = source.crashAt('part sent');
    const deploying = source.deploy(rules).catch(() => {});
    await cut.reached;
    await source.stop();
    await deploying;
    await source.sql(`insert into notes values (1000, 'skipped by somebody'); delete from notes where id = 7`);
    await source.sql(`select pg_replication_slot_advance('${await slotOf(source)}', pg_current_wal_insert_lsn())`);
    await source.restart();
    await waitFor(async () => (await epochOf(source)) > 1, { what: 'a second epoch to serve', timeoutMs: 20_000 });
    await source.shows('notes', all);
  });
});

describe('a new epoch that is cut off beside the one that serves', () => {
  for (const cut of ['a crash', 'a lost connection'] as const) {
    it(`L10: by ${cut} goes on where its copy stood, and the old one serves until it is complete`, {
      timeout,
    }, async () => {
      await using database = await freshDatabase('cut_beside');
      const tuning = { partBytesMax: 500, copyRangeBytes: 8192, copySessions: 1 };
      await using source = new ReplicatedSource(database.url, { tuning });
      await source.sql(
        `${schema} insert into notes select i, repeat('x', 50) from generate_series(1, 1000) i; analyze notes;
        create table accounts (id int primary key); alter table accounts replica identity full;
        insert into accounts select i from generate_series(1, 20) i`,
      );
      source.start();
      // Its table is copied first, and whole before the cut.
      await source.deploy(`${rules}  accounts:\n    query: SELECT id FROM accounts\n`);
      const shown = await source.rows('notes');
      await source.stop();
      await source.sql(`select pg_drop_replication_slot('${await slotOf(source)}')`);
      await source.sql(
        `insert into notes values (2000, 'after the slot'); update notes set body = 'changed' where id <= 10`,
      );
      const fault = source.crashAt('part sent', { skip: 6 });
      source.start();
      await fault.reached;
      if (cut === 'a crash') await source.restart();
      else fault.fail(new AppError('SOURCE_UNREACHABLE', { internal: 'lost here' }));
      const loaded = source.faults.arm('streams loaded');
      await source.sql(`delete from notes where id % 100 = 1; update notes set id = id + 5000 where id % 100 = 2`);
      await loaded.reached;
      expect(await source.rows('notes')).toEqual(shown);
      expect((await source.source()).building?.epoch).toBe(2);
      loaded.release();
      await waitFor(async () => (await epochOf(source)) === 2, {
        what: 'the second epoch to serve',
        timeoutMs: 20_000,
      });
      await source.shows('notes', all);
      await source.shows('accounts', 'select id from accounts');
      const pointsOf = async (name: string): Promise<ReadonlySet<Lsn | undefined>> => {
        const { stream } = await source.visibleStream(name);
        return new Set((await source.store.readCopy(project, stream)).map(({ point }) => point));
      };
      expect([(await pointsOf('accounts')).size, (await pointsOf('notes')).size]).toEqual([1, 2]);
    });
  }
});

/** A copy of the server's files as they are after it was stopped in order; `start` makes a server of them, on the same port. */
async function coldCopy(
  server: PostgresServer,
): Promise<AsyncDisposable & { start(): Promise<PostgresServer>; folder: string }> {
  const folder = `${server.dataDir}-copy`;
  // With its owner, which is another account than ours when we are root.
  await promisify(execFile)('cp', ['-a', server.dataDir, folder]);
  let started: PostgresServer | undefined;
  return {
    folder,
    async start() {
      started = await startOver(folder, server.port);
      return started;
    },
    async [Symbol.asyncDispose]() {
      await started?.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

const limits = { max_connections: 50, max_wal_senders: 20, max_replication_slots: 20 };

function startOver(dataDir: string, port: number): Promise<PostgresServer> {
  return startPostgres({
    dataDir,
    port,
    superuser: 'postgres',
    password: 'postgres',
    // Recovery wants no smaller ones than the cluster had.
    settings: { ...limits, wal_level: 'logical', fsync: false, restore_command: 'false' },
  });
}

/** A server answers reads before its recovery has ended. */
async function isPromoted(source: ReplicatedSource): Promise<void> {
  await waitFor(async () => (await source.sql('select pg_is_in_recovery() as still'))[0]?.still === false, {
    what: 'recovery to end',
    timeoutMs: 20_000,
  });
}

describe('a source that is not the one that was followed', () => {
  it('L2: another server behind the same address begins a new epoch', { timeout }, async () => {
    await using first = await freshCluster();
    await using second = await freshCluster();
    await using source = await deployed(first.url);
    await source.stop();
    await using other = new ReplicatedSource(second.url, { store: source.store });
    await other.sql(`${schema} insert into notes values (1, 'of the other'), (2, 'too')`);
    other.adopt(rules);
    await isCopiedAnew(other, [[1, 'first']], 'SOURCE_HISTORY_CHANGED');
  });

  it('L2: one that was restored to an earlier state is behind what we hold, and begins a new epoch', {
    timeout,
  }, async () => {
    await using cluster = await freshCluster(limits);
    await using source = await deployed(cluster.url);
    await source.stop();
    await cluster.stop();
    await using copy = await coldCopy(cluster);
    await using later = await startOver(cluster.dataDir, cluster.port);
    source.start();
    await source.sql(`insert into notes select i, 'lost by the source' from generate_series(2, 300) i`);
    await source.shows('notes', all);
    const shown = await source.rows('notes');
    await source.stop();
    await later.stop();
    await copy.start();
    await isCopiedAnew(source, shown, 'SOURCE_HISTORY_CHANGED');
    expect(await source.rows('notes')).toEqual([[1, 'first']]);
  });

  it('L2: a failover that lost what we hold begins a new epoch, though the server has come further since', {
    timeout,
  }, async () => {
    await using cluster = await freshCluster(limits);
    await using source = await deployed(cluster.url);
    await source.stop();
    await cluster.stop();
    await using copy = await coldCopy(cluster);
    await using later = await startOver(cluster.dataDir, cluster.port);
    source.start();
    await source.sql(`insert into notes values (2, 'lost by the failover')`);
    await source.shows('notes', all);
    await source.stop();
    await later.stop();
    await writeFile(`${copy.folder}/recovery.signal`, '');
    await copy.start();
    await isPromoted(source);
    await writeMuch(source);
    await source.sql(`insert into notes values (3, 'on the new timeline')`);
    await isCopiedAnew(
      source,
      [
        [1, 'first'],
        [2, 'lost by the failover'],
      ],
      'SOURCE_HISTORY_CHANGED',
    );
  });

  it('L2: a failover that kept all that we hold and our slot goes on in the same epoch', { timeout }, async () => {
    await using cluster = await freshCluster(limits);
    await using source = await deployed(cluster.url);
    await source.stop();
    await cluster.stop();
    await using copy = await coldCopy(cluster);
    await writeFile(`${copy.folder}/recovery.signal`, '');
    await copy.start();
    await isPromoted(source);
    await source.sql('checkpoint');
    expect(await source.sql('select timeline_id from pg_control_checkpoint()')).toEqual([{ timeline_id: 2 }]);
    await source.sql(`insert into notes values (2, 'on the new timeline')`);
    source.start();
    await source.shows('notes', all);
    expect(await epochOf(source)).toBe(1);
  });

  it('a slot is made so that a standby keeps it in step, unless the setting says otherwise', async () => {
    for (const failoverSlots of [true, false]) {
      await using database = await freshDatabase('failover');
      await using source = new ReplicatedSource(database.url, { tuning: { failoverSlots } });
      await source.sql(schema);
      source.start();
      await source.deploy(rules);
      const slot = await slotOf(source);
      expect(await source.sql('select failover from pg_replication_slots where slot_name = $1', [slot])).toEqual([
        { failover: failoverSlots },
      ]);
    }
  });
});

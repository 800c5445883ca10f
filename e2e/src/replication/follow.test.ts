import { freshDatabase, identifier, query, seededRandom, testConfig, waitFor } from '@sluice/testkit';
import { Client } from 'pg';
import { describe, expect, it } from 'vitest';
import { heartbeatMs, ReplicatedSource } from './replicated-source.ts';

const rules = `version: 1
streams:
  notes:
    query: SELECT id, body FROM notes
`;
const schema = 'create table notes (id int primary key, body text); alter table notes replica identity full;';

async function notesOf(source: ReplicatedSource): Promise<unknown[]> {
  return (await source.rows('notes')).map(([id, body]) => [id, body]).sort(([a], [b]) => Number(a) - Number(b));
}
async function expectEqual(source: ReplicatedSource): Promise<void> {
  await source.caughtUp();
  const expected = (await source.sql('select id, body from notes order by id')).map(({ id, body }) => [id, body]);
  expect(await notesOf(source)).toEqual(expected);
}
async function deployed(url: string, setup = ''): Promise<ReplicatedSource> {
  const source = new ReplicatedSource(url);
  await source.sql(schema + setup);
  source.start();
  await source.deploy(rules);
  return source;
}
async function session(url: string): Promise<Client & AsyncDisposable> {
  const client = new Client({ connectionString: url });
  await client.connect();
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() });
}

describe('a source that is followed', () => {
  it('L10: shows the rows of the copy and of the stream at one checkpoint', async () => {
    await using database = await freshDatabase('follow');
    await using source = await deployed(
      database.url,
      `insert into notes select i, 'copied ' || i from generate_series(1, 1000) i`,
    );
    await expectEqual(source);
    await source.sql(`insert into notes values (5000, 'streamed'); update notes set body = 'changed' where id = 1`);
    await source.sql('delete from notes where id = 2; update notes set id = 7000 where id = 3');
    await expectEqual(source);
    expect((await source.source()).condition).toMatchObject({ state: 'live', code: '' });
    expect([...new Set(source.progress.map(({ step }) => step))]).toEqual(['publication', 'slot', 'snapshot', 'live']);
    expect(await source.sql('select tablename from pg_publication_tables')).toEqual([{ tablename: 'notes' }]);
  });

  it('L10: writes during the copy are neither lost nor doubled', async () => {
    await using database = await freshDatabase('copy');
    await using source = new ReplicatedSource(database.url, { tuning: { partBytesMax: 50_000 } });
    await source.sql(`${schema} insert into notes select i, repeat('x', 100) from generate_series(1, 20000) i`);
    source.start();
    const held = source.faults.arm('part sent');
    const deploying = source.deploy(rules);
    await held.reached;
    await source.sql(`update notes set body = 'while copying' where id % 3 = 0; delete from notes where id % 7 = 0;
      insert into notes select i, 'new' from generate_series(30000, 31000) i; update notes set id = id + 100000 where id % 5 = 1`);
    held.release();
    await deploying;
    await expectEqual(source);
  });

  it('carries interleaved, empty, rolled back and nested transactions in the order of commits', async () => {
    await using database = await freshDatabase('interleaved');
    await using source = await deployed(database.url);
    await using one = await session(database.url);
    await using other = await session(database.url);
    await one.query('begin; insert into notes values (1, $$one$$)');
    await other.query('begin; insert into notes values (2, $$other$$)');
    await one.query(
      'insert into notes values (3, $$one$$); savepoint s; insert into notes values (9, $$gone$$); rollback to s',
    );
    await other.query('commit');
    await one.query('commit');
    await one.query('begin; insert into notes values (4, $$gone$$); rollback; create table elsewhere (n int)');
    await other.query('insert into elsewhere values (1)');
    await expectEqual(source);
  });

  it('keeps unchanged TOASTed values, also when the key changes', async () => {
    await using database = await freshDatabase('toast');
    await using source = await deployed(database.url, 'alter table notes add column n int');
    // Random text stays large when it is compressed, so that it is stored out of line.
    await source.sql(`insert into notes select 1, string_agg(md5(i::text), '') from generate_series(1, 1000) i`);
    await source.sql('update notes set n = 1');
    await source.sql('update notes set id = 2');
    await expectEqual(source);
  });

  it('empties what a cascading TRUNCATE empties, and keeps what the same transaction writes afterwards', async () => {
    await using database = await freshDatabase('truncate');
    await using source = await deployed(
      database.url,
      'create table parents (id int primary key); alter table notes add foreign key (id) references parents; insert into parents select generate_series(1, 9)',
    );
    await source.sql(`insert into notes values (1, 'a'), (2, 'b')`);
    await expectEqual(source);
    await source.sql(`insert into notes values (3, 'void'); truncate parents cascade; insert into parents values (4);
      insert into notes values (4, 'after')`);
    await expectEqual(source);
    expect(await notesOf(source)).toEqual([[4, 'after']]);
  });

  it('L2: an idle source is kept moving, and its slot keeps little WAL beside a busy neighbour', async () => {
    await using database = await freshDatabase('idle');
    await using neighbour = await freshDatabase('busy');
    await using source = await deployed(database.url);
    const confirmed = async (): Promise<string> => {
      const sql =
        'select confirmed_flush_lsn::text as lsn from pg_replication_slots where database = current_database()';
      return String((await source.sql(sql))[0]?.lsn);
    };
    const before = await confirmed();
    await query(neighbour.url, 'create table t as select repeat(md5(i::text), 20) from generate_series(1, 20000) i');
    await query(neighbour.url, 'select pg_switch_wal()');
    const lsn = (await query(neighbour.url, 'select pg_current_wal_lsn()::text as lsn'))[0]?.lsn;
    await waitFor(
      async () =>
        (await source.sql('select $1::pg_lsn <= $2::pg_lsn as passed', [lsn, await confirmed()]))[0]?.passed === true,
      { what: 'the slot to be confirmed beyond what the neighbour wrote', timeoutMs: heartbeatMs * 30 },
    );
    expect(await confirmed()).not.toBe(before);
  });

  it('a transaction larger than any frame becomes visible at once', async () => {
    await using database = await freshDatabase('large');
    const rows = testConfig().lane === 'long' ? 1_000_000 : 100_000;
    await using source = await deployed(database.url);
    await source.sql(`insert into notes values (0, 'before')`);
    await source.caughtUp();
    const counts = new Set<number>();
    const writing = source.sql(`insert into notes select i, repeat('y', 200) from generate_series(1, ${rows}) i`);
    let isDone = false;
    void writing.then(() => {
      isDone = true;
    });
    while (!isDone) {
      counts.add((await source.rows('notes')).length);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await writing;
    await source.caughtUp();
    counts.add((await source.rows('notes')).length);
    expect([...counts].sort((a, b) => a - b)).toEqual([1, rows + 1]);
  });

  it('names that need quoting are published, copied and streamed', async () => {
    await using database = await freshDatabase('names');
    await using source = new ReplicatedSource(database.url);
    const schemaName = identifier('Größe "x" \\ .;');
    const table = `${schemaName}.${identifier(`T'a"b.l€ \\n`)}`;
    await source.sql(`create schema ${schemaName}; create table ${table} ("I d" int primary key, "Wert ""Ä""" text);
      alter table ${table} replica identity full; insert into ${table} values (1, 'copied')`);
    source.start();
    await source.deploy(`version: 1
streams:
  quoted:
    table: quoted
    query: |
      SELECT "I d" AS id, "Wert ""Ä""" AS body FROM ${table}
`);
    await source.sql(`insert into ${table} values (2, 'streamed')`);
    await source.caughtUp();
    expect((await source.rows('quoted')).sort(([a], [b]) => Number(a) - Number(b))).toEqual([
      [1, 'copied'],
      [2, 'streamed'],
    ]);
  });

  it('copy and stream print equal bytes whatever the role and the database have set', async () => {
    await using database = await freshDatabase('hostile');
    await using source = new ReplicatedSource(database.url);
    const settings = {
      datestyle: 'SQL, DMY',
      intervalstyle: 'sql_standard',
      timezone: 'Asia/Kathmandu',
      extra_float_digits: '-15',
      bytea_output: 'escape',
      statement_timeout: '1ms',
      idle_in_transaction_session_timeout: '1ms',
      default_transaction_read_only: 'on',
      search_path: 'nowhere',
      client_encoding: 'LATIN1',
    };
    const values = `1, 0.1::float8 + 0.2, '2024-03-10 01:02:03.456789+05', '1 year 2 mons 3 days 04:05:06', '\\x00ff', '2024-03-10'`;
    await source.sql(`create table public.odd (id int primary key, f float8, t timestamptz, i interval, b bytea, d date);
      alter table public.odd replica identity full; insert into public.odd values (${values})`);
    const alter = Object.entries(settings).map(
      ([name, value]) => `alter database ${identifier(database.name)} set ${name} = '${value}'`,
    );
    await source.sql(alter.join(';'));
    source.start();
    await source.deploy('version: 1\nstreams:\n  odd:\n    query: SELECT * FROM public.odd\n');
    const writer = new Client({
      connectionString: database.url,
      options: '-c default_transaction_read_only=off -c statement_timeout=0',
    });
    await writer.connect();
    await writer.query(`insert into public.odd select 2, f, t, i, b, d from public.odd`);
    await writer.end();
    await source.caughtUp();
    const [first, second] = (await source.rows('odd')).sort(([a], [b]) => Number(a) - Number(b));
    expect(first?.slice(1)).toEqual(second?.slice(1));
    expect(first?.[1]).toBe(0.1 + 0.2);
  });

  it('L2: restarts at any moment lose and repeat nothing, with adjacent commits', async () => {
    await using database = await freshDatabase('restarts');
    await using source = await deployed(database.url);
    const random = seededRandom();
    let id = 0;
    for (let round = 0; round < 8; round++) {
      await using one = await session(database.url);
      await using other = await session(database.url);
      for (let i = 0; i < 5; i++) {
        id += 2;
        await one.query(`begin; insert into notes values (${id}, 'a')`);
        await other.query(`begin; insert into notes values (${id + 1}, 'b')`);
        // Sent together, their commit records touch: the end of one is the begin of the other.
        await Promise.all([one.query('commit'), other.query('commit')]);
        if (random.chance(0.3)) await source.restart();
      }
      if (random.chance(0.5)) await source.sql(`update notes set body = body || '${round}' where id % 3 = 0`);
    }
    await expectEqual(source);
    expect((await source.source()).serving?.epoch).toBe(1);
  });

  it('L2: what was received but is not durable comes again after a restart', async () => {
    await using database = await freshDatabase('received');
    await using source = await deployed(database.url);
    await source.sql(`insert into notes values (1, 'durable')`);
    await source.caughtUp();
    await source.restart({ worker: false });
    await source.sql(`insert into notes values (2, 'received'), (3, 'received')`);
    await source.sql(`insert into notes values (4, 'received')`);
    await waitFor(() => source.faults.passes('frame published') > 6, { what: 'frames on their way' });
    await waitFor(
      async () =>
        (await source.sql('select 1 from pg_stat_replication where application_name = $1', ['sluice'])).length > 0,
      { what: 'the stream' },
    );
    await source.restart();
    await expectEqual(source);
  });

  it('L3: a second holder takes over, and the first one writes nothing any more', async () => {
    await using database = await freshDatabase('holders');
    await using source = await deployed(database.url);
    await using second = new ReplicatedSource(database.url, { store: { ...source.store } });
    const before = (await source.source()).leaseToken;
    // The first one stands still in the middle of its work, as a process that was stopped does, and renews nothing.
    Object.assign(source.store, {
      renewLease: () => new Promise(() => {}),
      renewShardLease: () => new Promise(() => {}),
      acquireShardLease: async () => undefined,
    });
    const frozen = source.faults.arm('frame assembled');
    await source.sql(`insert into notes values (1, 'for the second')`);
    await frozen.reached;
    second.start();
    await waitFor(async () => (await source.source()).leaseToken > before, { what: 'the second holder' });
    frozen.release();
    await second.sql(`insert into notes values (2, 'for the second')`);
    await expectEqual(second);
    expect((await source.source()).serving?.epoch).toBe(1);
  });
});

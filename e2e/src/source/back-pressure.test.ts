import { createMemoryOpQueue } from '@sluice/op-queue';
import { freshCluster, freshDatabase, query, waitFor } from '@sluice/testkit';
import { describe, expect, it } from 'vitest';
import { project, ReplicatedSource } from '../replication/replicated-source.ts';

const rules = 'version: 1\nstreams:\n  notes:\n    query: SELECT id, body FROM notes\n';
const schema = `create table notes (id int primary key, body text); alter table notes replica identity full; alter table notes alter column body set storage external;
  insert into notes values (1, 'first')`;
const mib = 1 << 20;

describe('a source whose changes cannot be stored', () => {
  it('L16: a held stream answers the server for longer than wal_sender_timeout, and goes on', async () => {
    await using cluster = await freshCluster({ wal_sender_timeout: '1s' });
    await using database = await freshDatabase('held', cluster);
    const queue = createMemoryOpQueue({ bytesMaxPerShard: mib });
    await using source = new ReplicatedSource(database.url, { queue, tuning: { frameBytesMax: mib } });
    source.queue = queue;
    await source.sql(schema);
    source.start();
    await source.deploy(rules);
    await source.stop();
    source.start({ worker: false });
    // More than the queue and the buffers on the way to it hold, in many transactions: of one the server says that all was sent.
    await source.sql(`do $$ begin
      for i in 2..4000 loop insert into notes values (i, repeat('x', 20000)); commit; end loop;
    end $$`);
    const sender = async (): Promise<{ pid: number; repliedMs: number; behindBytes: number }> => {
      const [row] = await query<{ pid: number; repliedMs: number; behindBytes: number }>(
        cluster.url,
        `select pid, extract(epoch from reply_time)::float8 * 1000 as "repliedMs",
           pg_wal_lsn_diff(pg_current_wal_lsn(), sent_lsn)::float8 as "behindBytes"
         from pg_stat_replication`,
      );
      return row ?? { pid: 0, repliedMs: 0, behindBytes: 0 };
    };
    let first = await sender();
    await waitFor(
      async () => {
        first = await sender();
        return first.pid > 0 && first.behindBytes > mib;
      },
      { what: 'a held stream' },
    );
    let last = first;
    await waitFor(
      async () => {
        last = await sender();
        return last.pid !== first.pid || last.repliedMs - first.repliedMs > 3500;
      },
      { what: 'answers beyond three times the time limit' },
    );
    expect(last.pid).toBe(first.pid);
    expect(last.behindBytes).toBeGreaterThan(mib);
    await source.stop();
    source.start();
    await source.caughtUp();
    expect(await source.rows('notes')).toHaveLength(4000);
    expect((await source.source()).serving?.epoch).toBe(1);
  });

  it('L16: is warned of before its slot is dropped, and no longer when the WAL is gone', async () => {
    await using cluster = await freshCluster();
    await using database = await freshDatabase('wal_low', cluster);
    await using source = new ReplicatedSource(database.url, { tuning: { walBytesMax: 40 * mib } });
    await source.sql(schema);
    source.start();
    await source.deploy(rules);
    await source.restart({ worker: false });
    await source.sql(`create table elsewhere as select repeat(md5(i::text), 30) from generate_series(1, 25000) i`);
    await waitFor(async () => (await source.source()).condition.code === 'SOURCE_WAL_BUDGET', { what: 'the warning' });
    expect((await source.source()).condition).toMatchObject({ state: 'live', details: { walBytesMax: 40 * mib } });
    await source.restart();
    await waitFor(
      async () => {
        // A slot lets WAL go at the next note of the running transactions, which the server makes every 15 s.
        await source.sql('select pg_log_standby_snapshot()');
        await source.replicator.heartbeat(project);
        return (await source.source()).condition.code === '';
      },
      { what: 'the warning to end', timeoutMs: 20_000 },
    );
    await source.sql(`insert into notes values (2, 'second')`);
    await source.shows('notes', 'select id, body from notes');
    expect((await source.source()).serving?.epoch).toBe(1);
  });
});

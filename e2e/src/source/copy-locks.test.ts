import { freshDatabase, waitFor } from '@sluice/testkit';
import { describe, expect, it } from 'vitest';
import { ReplicatedSource } from '../replication/replicated-source.ts';

const rules = `version: 1
streams:
  notes:
    query: SELECT id, body FROM notes
  others:
    query: SELECT id, body FROM others
`;
const schemaOf = (rows: number): string =>
  ['notes', 'others']
    .map(
      (table) => `create table ${table} (id int primary key, body text); alter table ${table} replica identity full;
        insert into ${table} select i, 'body ' || i from generate_series(1, ${rows}) i; analyze ${table};`,
    )
    .join('\n');

/** Changes a table, and resolves with the end of it once it waits for whoever holds the table. */
async function beginChange(source: ReplicatedSource, table: string): Promise<{ readonly done: Promise<unknown> }> {
  const done = source.sql(`alter table ${table} add column extra int`);
  await waitFor(
    async () => {
      const [row] = await source.sql(
        `select count(*)::int as n from pg_stat_activity
         where datname = current_database() and wait_event_type = 'Lock' and query like 'alter table%'`,
      );
      return row?.n === 1;
    },
    { what: 'the change to wait for the copy' },
  );
  return { done };
}

describe('a table of a running copy that somebody wants to change', () => {
  it('L10: a second session of the copy never waits behind him, as he waits for the first one', async () => {
    await using database = await freshDatabase('copy_locks');
    await using source = new ReplicatedSource(database.url, { tuning: { copySessions: 2, copyLockWaitMs: 60_000 } });
    await source.sql(schemaOf(300));
    source.start();
    const planned = source.faults.arm('copy planned');
    const deploying = source.deploy(rules);
    await planned.reached;
    const change = await beginChange(source, 'others');
    planned.release();
    await Promise.all([deploying, change.done]);
    await source.shows('notes', 'select id, body from notes');
    await source.shows('others', 'select id, body from others');
  });

  it('L10: he waits no longer than is allowed, and the copy goes on where it was', async () => {
    await using database = await freshDatabase('copy_gives_way');
    const slow = { partBytesMax: 2_000, copyRangeBytes: 16_384, copyBytesPerSecondMax: 60_000 };
    await using source = new ReplicatedSource(database.url, { tuning: { ...slow, copyLockWaitMs: 200 } });
    await source.sql(schemaOf(3_000));
    source.start();
    const begun = source.faults.arm('part sent');
    const deploying = source.deploy(rules);
    await begun.reached;
    const change = await beginChange(source, 'others');
    begun.release();
    await change.done;
    expect(source.progress.at(-1)?.rowsDone).toBeLessThan(6_000);
    await deploying;
    await source.shows('notes', 'select id, body from notes');
    await source.shows('others', 'select id, body from others');
  });
});

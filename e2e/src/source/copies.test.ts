import { freshDatabase } from '@sluice/testkit';
import { describe, expect, it } from 'vitest';
import { ReplicatedSource } from '../replication/replicated-source.ts';

const rules = 'version: 1\nstreams:\n  notes:\n    query: SELECT id, body FROM notes\n';
const withOther = `${rules}  others:\n    query: SELECT id, body FROM others\n`;
const schema = `create table notes (id int primary key, body text); alter table notes replica identity full;
  create table others (id int primary key, body text); alter table others replica identity full;
  insert into notes select i, 'body ' || i from generate_series(1, 300) i;
  insert into others select i, 'other ' || i from generate_series(1, 300) i;`;
const rewritten = [
  ['rewritten', `alter table TABLE alter column body type text using upper(body)`],
  ['emptied', 'truncate TABLE'],
  ['vacuumed into new storage', 'vacuum full TABLE'],
  ['altered without a rewrite', `alter table TABLE add column extra int default 7`],
] as const;

describe('a table that changes between the point of a copy and the copy', () => {
  it.each(rewritten)('L10: %s: a first load shows its rows as they are', async (_, change) => {
    await using database = await freshDatabase('rewritten');
    await using source = new ReplicatedSource(database.url);
    await source.sql(schema);
    source.start();
    const made = source.faults.arm('slot created');
    const deploying = source.deploy(rules);
    await made.reached;
    await source.sql(change.replace('TABLE', 'notes'));
    made.release();
    await deploying;
    const [count] = await source.sql('select count(*)::int as n from notes');
    expect(await source.rows('notes')).toHaveLength(Number(count?.n));
    await source.shows('notes', 'select id, body from notes');
  });

  it.each(rewritten)('L10: %s: so does a new stream', async (_, change) => {
    await using database = await freshDatabase('rewritten_stream');
    await using source = new ReplicatedSource(database.url);
    await source.sql(schema);
    source.start();
    await source.deploy(rules);
    const activated = source.faults.arm('streams activated');
    // A deployment that the change meets half-way is refused with a code that calls for another try.
    const deploying = source.deploy(withOther).catch((error: unknown) => {
      expect(error).toMatchObject({ code: 'SCHEMA_RELOADING' });
      return source.deploy(withOther);
    });
    await activated.reached;
    const changing = source.sql(change.replace('TABLE', 'others'));
    activated.release();
    await Promise.all([deploying, changing]);
    await source.shows('others', 'select id, body from others');
    await source.shows('notes', 'select id, body from notes');
    expect(await source.sql('select count(*)::int as n from pg_publication')).toEqual([{ n: 1 }]);
  });
});

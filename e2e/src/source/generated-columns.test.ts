import { freshDatabase, waitFor } from '@sluice/testkit';
import { describe, expect, it } from 'vitest';
import { ReplicatedSource } from '../replication/replicated-source.ts';

const rules = 'version: 1\nstreams:\n  notes:\n    query: SELECT * FROM notes\n';
const schema = `create table notes (id int primary key, body text, twice int generated always as (id * 2) stored);
  alter table notes replica identity full; insert into notes (id, body) values (1, 'first'), (2, 'second')`;
const all = 'select id, body from notes';

describe('generated columns', () => {
  it('are left out of copy and stream alike, and our publication is in nobody’s way', async () => {
    await using database = await freshDatabase('generated');
    await using source = new ReplicatedSource(database.url);
    await source.sql(schema);
    source.start();
    await source.deploy(rules);
    await source.sql(`update notes set id = 20 where id = 2; insert into notes (id, body) values (3, 'third')`);
    await source.shows('notes', all);
    await source.sql('alter table notes add column thrice int generated always as (id * 3) stored');
    await source.sql(`update notes set body = 'changed'; delete from notes where id = 3`);
    await source.shows('notes', all);
    expect((await source.source()).serving?.epoch).toBe(1);
  });

  it('a virtual one under replica identity FULL is refused before the table is published', async () => {
    await using database = await freshDatabase('generated_virtual');
    await using source = new ReplicatedSource(database.url);
    await source.sql(`${schema}; alter table notes add column thrice int generated always as (id * 3) virtual`);
    source.start();
    await expect(source.deploy(rules)).rejects.toMatchObject({ code: 'SOURCE_GENERATED_COLUMN' });
    await source.sql(`update notes set body = 'still ours to write'`);
  });

  it('a virtual one that comes later costs our publication, not the customer’s writes', async () => {
    await using database = await freshDatabase('generated_later');
    await using source = new ReplicatedSource(database.url);
    await source.sql(schema);
    source.start();
    await source.deploy(rules);
    await source.sql('alter table notes add column thrice int generated always as (id * 3)');
    await waitFor(async () => (await source.source()).condition.code === 'SOURCE_GENERATED_COLUMN', {
      what: 'the code',
    });
    await waitFor(
      () =>
        source
          .sql(`update notes set body = 'written again'`)
          .then(() => true)
          .catch(() => false),
      {
        what: 'the table to take updates',
      },
    );
    await source.sql('alter table notes drop column thrice');
    await source.shows('notes', all);
  });
});

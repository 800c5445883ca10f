import { freshDatabase, waitFor } from '@sluice/testkit';
import { describe, expect, it } from 'vitest';
import { ReplicatedSource } from '../replication/replicated-source.ts';

const rules = 'version: 1\nstreams:\n  notes:\n    query: SELECT id, body FROM notes\n';
const schema = `create table notes (id int primary key, body text); alter table notes replica identity full;
  create table notes_next (like notes including all); alter table notes_next replica identity full;
  insert into notes values (1, 'first'); insert into notes_next values (7, 'next')`;
const all = 'select id, body from notes';

describe('our publication in other hands', () => {
  it.each([
    ['narrowed to some rows', 'alter publication PUB set table notes where (id < 5)'],
    ['narrowed to some columns', 'alter publication PUB set table notes (id)'],
    ['without deletes', `alter publication PUB set (publish = 'insert, update')`],
    ['made anew under its name', 'drop publication PUB; create publication PUB for table notes'],
    ['dropped', 'drop publication PUB'],
  ])('is found and healed when it is %s', async (how, change) => {
    await using database = await freshDatabase('publication_changed');
    await using source = new ReplicatedSource(database.url);
    await source.sql(schema);
    source.start();
    await source.deploy(rules);
    const publication = String((await source.source()).serving?.identity.publication);
    const loading = source.faults.arm('streams loaded');
    await source.sql(change.replaceAll('PUB', publication));
    await source.sql(`insert into notes values (20, 'perhaps never sent')`);
    // Refused while the publication has too few columns for it.
    await source.sql('delete from notes where id = 1').catch(() => {});
    await loading.reached;
    // Fewer columns show in the stream as well, which may be what is seen first.
    const codes = /columns/.test(how) ? ['PUBLICATION_CHANGED', 'SCHEMA_RELOADING'] : ['PUBLICATION_CHANGED'];
    const { condition } = await source.source();
    expect(condition).toMatchObject({ state: 'loading' });
    expect(codes).toContain(condition?.code);
    loading.release();
    await waitFor(async () => ((await source.source()).serving?.epoch ?? 0) > 1, { what: 'a new epoch to serve' });
    await source.shows('notes', all);
    expect(await source.sql('select count(*)::int as n from pg_publication')).toEqual([{ n: 1 }]);
  });

  it('may hold tables more than ours, whose rows are left out', async () => {
    await using database = await freshDatabase('publication_wider');
    await using source = new ReplicatedSource(database.url);
    await source.sql(schema);
    source.start();
    await source.deploy(rules);
    const publication = String((await source.source()).serving?.identity.publication);
    await source.sql(`alter publication ${publication} add table notes_next; insert into notes_next values (8, 'b')`);
    await source.sql(`insert into notes values (2, 'second')`);
    await source.shows('notes', all);
    expect((await source.source()).serving?.epoch).toBe(1);
  });

  it('a table that takes the name of another shows its own rows', async () => {
    await using database = await freshDatabase('swapped');
    await using source = new ReplicatedSource(database.url);
    await source.sql(schema);
    source.start();
    await source.deploy(rules);
    await source.sql(`begin; alter table notes rename to notes_old; alter table notes_next rename to notes; commit`);
    await source.sql(
      `insert into notes values (9, 'in the new one'); insert into notes_old values (10, 'in the old one')`,
    );
    await source.shows('notes', all);
    await source.sql(`delete from notes where id = 7`);
    await source.shows('notes', all);
  });
});

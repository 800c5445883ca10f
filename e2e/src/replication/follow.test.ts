import { freshDatabase, waitFor } from '@sluice/testkit';
import { describe, expect, it } from 'vitest';
import { project, ReplicatedSource } from './replicated-source.ts';

const rules = `version: 1
streams:
  notes:
    query: SELECT id, body FROM notes
`;
const schema = `create table notes (id int primary key, body text); alter table notes replica identity full;`;

async function notesOf(source: ReplicatedSource): Promise<unknown[]> {
  return (await source.rows('notes')).map(([id, body]) => [id, body]).sort(([a], [b]) => Number(a) - Number(b));
}
async function expected(source: ReplicatedSource): Promise<unknown[]> {
  return (await source.sql('select id, body from notes order by id')).map(({ id, body }) => [id, body]);
}

describe('a source that is followed', () => {
  it('L10: shows the rows of the copy and of the stream at one checkpoint', async () => {
    await using database = await freshDatabase('follow');
    await using source = new ReplicatedSource(database.url);
    await source.sql(schema);
    await source.sql(`insert into notes select i, 'copied ' || i from generate_series(1, 1000) i`);
    source.start();
    await source.deploy(rules);
    expect(await notesOf(source)).toEqual(await expected(source));
    await source.sql(`insert into notes values (5000, 'streamed'); update notes set body = 'changed' where id = 1`);
    await source.sql(`delete from notes where id = 2; update notes set id = 7000 where id = 3`);
    await source.caughtUp();
    expect(await notesOf(source)).toEqual(await expected(source));
    expect((await source.source()).condition).toMatchObject({ state: 'live', code: '' });
    expect(source.progress.map(({ step }) => step)).toEqual(
      expect.arrayContaining(['publication', 'slot', 'snapshot', 'live']),
    );
    await waitFor(async () => (await source.sql('select 1 from pg_publication_tables')).length === 1, { what: 'one' });
    expect(project).toBe(7);
  });
});

import type { StreamNo } from '@sluice/domain';
import { AppError } from '@sluice/errors';
import { freshDatabase, waitFor } from '@sluice/testkit';
import { describe, expect, it } from 'vitest';
import { project, ReplicatedSource } from './replicated-source.ts';

const one = 'version: 1\nstreams:\n  notes:\n    query: SELECT id, body FROM notes\n';
const two = `${one}  tags:\n    query: SELECT id, name FROM tags\n`;
const tagsOnly = 'version: 1\nstreams:\n  tags:\n    query: SELECT id, name FROM tags\n';
const schema = `create table notes (id int primary key, body text); alter table notes replica identity full;
  create table tags (id int primary key, name text); alter table tags replica identity full;
  insert into notes values (1, 'note'); insert into tags select i, 'tag' from generate_series(1, 2000) i;`;

async function published(source: ReplicatedSource): Promise<unknown[]> {
  return (await source.sql('select tablename from pg_publication_tables order by 1')).map(({ tablename }) => tablename);
}

describe('a second deployment', () => {
  it('L11: adds a stream beside those that serve, with writes going on, and leaves the others alone', async () => {
    await using database = await freshDatabase('add_stream');
    await using source = new ReplicatedSource(database.url, { tuning: { partBytesMax: 20_000 } });
    await source.sql(schema);
    source.start();
    await source.deploy(one);
    const kept = (await source.visibleStream('notes')).stream;
    const copying = source.faults.arm('part sent');
    const deploying = source.deploy(two);
    await copying.reached;
    await source.sql(`update tags set name = 'changed' where id % 2 = 0; delete from tags where id % 5 = 0;
      insert into tags values (9000, 'new'); insert into notes values (2, 'meanwhile')`);
    await source.caughtUp();
    expect(await source.rows('notes')).toHaveLength(2);
    copying.release();
    await deploying;
    await source.shows('tags', 'select id, name from tags');
    await source.shows('notes', 'select id, body from notes');
    expect((await source.visibleStream('notes')).stream).toBe(kept);
    expect((await source.source()).serving?.epoch).toBe(1);
    expect(await published(source)).toEqual(['notes', 'tags']);
    const slots = 'select count(*)::int as n from pg_replication_slots where database = current_database()';
    expect(await source.sql(slots)).toEqual([{ n: 1 }]);
  });

  it('L11: writes between activation and the copy count once', async () => {
    await using database = await freshDatabase('between');
    await using source = new ReplicatedSource(database.url);
    await source.sql(schema);
    source.start();
    await source.deploy(one);
    const activated = source.faults.arm('streams activated');
    const deploying = source.deploy(two);
    await activated.reached;
    for (let i = 0; i < 5; i++)
      await source.sql(`insert into tags values (${5000 + i}, 'between'); delete from tags where id = ${i + 1}`);
    activated.release();
    await source.sql(`insert into tags values (6000, 'while copying')`);
    await deploying;
    await source.shows('tags', 'select id, name from tags');
  });

  it('L11: drops what is gone and stops publishing its table', async () => {
    await using database = await freshDatabase('drop_stream');
    await using source = new ReplicatedSource(database.url);
    await source.sql(schema);
    source.start();
    await source.deploy(two);
    await source.deploy(tagsOnly);
    await source.shows('tags', 'select id, name from tags');
    await expect(source.visibleStream('notes')).rejects.toThrow('no stream');
    expect(await published(source)).toEqual(['tags']);
    await source.deploy(one);
    await source.shows('notes', 'select id, body from notes');
    expect(await published(source)).toEqual(['notes']);
  });

  for (const step of ['publication altered', 'streams activated', 'part sent', 'streams loaded']) {
    it(`that is cut off at "${step}" leaves the old set serving, and can be repeated`, async () => {
      await using database = await freshDatabase('deploy_cut_off');
      await using source = new ReplicatedSource(database.url);
      await source.sql(schema);
      source.start();
      await source.deploy(one);
      const cut = source.crashAt(step);
      const deploying = source.deploy(two).catch((error: unknown) => error);
      await cut.reached;
      await source.restart();
      expect(await deploying).toMatchObject({ code: 'REPLICATOR_STOPPED' });
      await source.sql(`insert into notes values (2, 'old set'); insert into tags values (9000, 'new')`);
      await source.shows('notes', 'select id, body from notes');
      await expect(source.visibleStream('tags')).rejects.toThrow('no stream');
      await source.deploy(two);
      await source.shows('tags', 'select id, name from tags');
      const loading = (await source.store.readStreams(project)).filter(
        (stream) => stream.visibleAfter === undefined && stream.droppedAfter === undefined,
      );
      expect(loading).toEqual([]);
    });
  }

  const small = { partBytesMax: 500, copyRangeBytes: 8192, copySessions: 1 };
  const tagsOf = async (source: ReplicatedSource): Promise<readonly { readonly stream: StreamNo }[]> => {
    const inUse = (await source.store.readStreams(project)).filter(({ droppedAfter }) => droppedAfter === undefined);
    return inUse.filter(({ name }) => name === 'tags');
  };

  for (const cut of ['a crash', 'a lost connection'] as const) {
    it(`L10: whose copy is cut off by ${cut} goes on where it stood`, async () => {
      await using database = await freshDatabase('deploy_goes_on');
      await using source = new ReplicatedSource(database.url, { tuning: small });
      await source.sql(`${schema} analyze tags`);
      source.start();
      await source.deploy(one);
      const fault = source.crashAt('part sent', { skip: 8 });
      const deploying = source.deploy(two).catch((error: unknown) => error);
      await fault.reached;
      // From here on the stream is past the copy's first point, without which another process begins anew.
      await source.caughtUp();
      const [begun] = await tagsOf(source);
      if (cut === 'a crash') await source.restart();
      else fault.fail(new AppError('SOURCE_UNREACHABLE', { internal: 'lost here' }));
      expect(await deploying).toBeInstanceOf(AppError);
      await source.sql(`delete from tags where id % 100 = 1; update tags set id = id + 5000 where id % 100 = 2;
        insert into tags values (9000, 'new'); update tags set name = 'changed' where id % 10 = 5`);
      await source.caughtUp();
      expect(await tagsOf(source)).toMatchObject([{ stream: begun?.stream }]);
      await source.deploy(two);
      await source.shows('tags', 'select id, name from tags');
      const { stream } = await source.visibleStream('tags');
      expect(stream).toBe(begun?.stream);
      const points = (await source.store.readCopy(project, stream)).map(({ point }) => point);
      expect(new Set(points).size).toBe(2);
    });
  }

  it('that was cut off in its copy begins anew when the table was rewritten since, or other rules are wanted', async () => {
    await using database = await freshDatabase('deploy_begins_anew');
    await using source = new ReplicatedSource(database.url, { tuning: small });
    await source.sql(`${schema} analyze tags`);
    source.start();
    await source.deploy(one);
    const cutOff = async (): Promise<StreamNo | undefined> => {
      const fault = source.crashAt('part sent', { skip: 8 });
      const deploying = source.deploy(two).catch(() => {});
      await fault.reached;
      await source.caughtUp();
      const [begun] = await tagsOf(source);
      await source.restart();
      await deploying;
      return begun?.stream;
    };
    const first = await cutOff();
    await source.sql(`alter table tags alter column name type varchar(9) using name || '!'`);
    await source.deploy(two);
    await source.shows('tags', 'select id, name from tags');
    expect((await source.visibleStream('tags')).stream).not.toBe(first);
    await source.deploy(one);
    await cutOff();
    await source.deploy(one);
    expect(await tagsOf(source)).toEqual([]);
  });

  it('that nobody goes on with is given up after a time', async () => {
    await using database = await freshDatabase('deploy_given_up');
    await using source = new ReplicatedSource(database.url, { tuning: { ...small, resumeWithinMs: 300 } });
    await source.sql(`${schema} analyze tags`);
    source.start();
    await source.deploy(one);
    const fault = source.crashAt('part sent', { skip: 8 });
    const deploying = source.deploy(two).catch(() => {});
    await fault.reached;
    await source.caughtUp();
    await source.restart();
    await deploying;
    await waitFor(async () => (await tagsOf(source)).length === 0, { what: 'the streams to be dropped' });
    await source.sql(`insert into notes values (2, 'serving')`);
    await source.shows('notes', 'select id, body from notes');
  });

  it('refuses a table without replica identity before it is published', async () => {
    await using database = await freshDatabase('identity');
    await using source = new ReplicatedSource(database.url);
    await source.sql(`${schema} alter table tags replica identity nothing`);
    source.start();
    await source.deploy(one);
    await expect(source.deploy(two)).rejects.toMatchObject({
      code: 'SOURCE_REPLICA_IDENTITY',
      details: { sql: ['ALTER TABLE "public"."tags" REPLICA IDENTITY FULL;'] },
    });
    expect(await published(source)).toEqual(['notes']);
    await source.sql(`insert into notes values (2, 'serving')`);
    await source.shows('notes', 'select id, body from notes');
  });
});

import { freshDatabase, type SeededRandom, seededRandom } from '@sluice/testkit';
import { expect, it } from 'vitest';
import { project, ReplicatedSource } from '../replication/replicated-source.ts';

const rules = `version: 1
streams:
  notes:
    query: SELECT id, body FROM notes
  pairs:
    query: SELECT a, b, text FROM pairs
`;
/** One table with whole old rows, one without. */
const schema = `
  create table notes (id int primary key, body text);
  alter table notes replica identity full;
  create table pairs (a int, b text, text text, primary key (a, b));
  insert into notes select i, 'copied ' || i from generate_series(1, 500) i;
  insert into pairs select i % 20, 'p' || i, 'copied' from generate_series(1, 500) i;`;
const tuning = { frameBytesMax: 32 << 10, partBytesMax: 8 << 10 };

async function expectEqual(source: ReplicatedSource): Promise<void> {
  await source.caughtUp();
  for (const [stream, columns] of [
    ['notes', 'id, body'],
    ['pairs', 'a, b, text'],
  ] as const) {
    const wanted = (await source.sql(`select ${columns} from ${stream}`)).map((row) =>
      JSON.stringify(Object.values(row)),
    );
    const shown = (await source.rows(stream)).map((row) => JSON.stringify(row));
    expect(shown.sort(byText), stream).toEqual(wanted.sort(byText));
  }
}
const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
const shardsOf = async (source: ReplicatedSource): Promise<number | undefined> =>
  (await source.source()).serving?.shards.length;

async function deployed(url: string, shards: number): Promise<ReplicatedSource> {
  const source = new ReplicatedSource(url, { shards, tuning });
  await source.sql(schema);
  source.start();
  await source.deploy(rules);
  return source;
}

function randomStatement(random: SeededRandom): string {
  const id = random.int(1, 600);
  return random.pick([
    `insert into notes values (${id}, 'new') on conflict (id) do update set body = excluded.body || ${id}`,
    `delete from notes where id = ${id}`,
    `update notes set id = id + 1000 where id = ${id} and not exists (select from notes where id = ${id} + 1000)`,
    `update notes set id = id - 1000 where id = ${id} + 1000 and not exists (select from notes where id = ${id})`,
    `update notes set body = repeat('x', ${id}) where id % 50 = ${id % 50}`,
    `insert into pairs values (${id % 20}, 'q${id}', 'new') on conflict (a, b) do update set text = 'again'`,
    `update pairs set a = a + 1 where b = 'p${id}'`,
    `update pairs set text = 't${id}' where a = ${id % 20}`,
    `delete from pairs where b = 'p${id}'`,
  ]);
}

/** Writes transactions of several statements until told to stop. */
function load(source: ReplicatedSource, random: SeededRandom): { stop(): Promise<number> } {
  let isStopped = false;
  const written = (async () => {
    let count = 0;
    for (; !isStopped; count++) {
      const statements = Array.from({ length: random.int(1, 6) }, () => randomStatement(random));
      await source.sql(`begin; ${statements.join('; ')}; commit`);
    }
    return count;
  })();
  return {
    stop() {
      isStopped = true;
      return written;
    },
  };
}

it('L4, L6: at four shards rows show as the source has them: copy, key changes, TRUNCATE and a transaction of many frames', async () => {
  await using database = await freshDatabase('shards');
  await using source = await deployed(database.url, 4);
  expect(await shardsOf(source)).toBe(4);
  await expectEqual(source);
  const random = seededRandom();
  for (let round = 0; round < 15; round++)
    await source.sql(`begin; ${[0, 1, 2, 3].map(() => randomStatement(random)).join('; ')}; commit`);
  await expectEqual(source);
  await source.sql(`begin;
    insert into notes select i, repeat('before ', 20) from generate_series(5000, 6000) i;
    truncate notes, pairs;
    insert into notes select i, repeat('after ', 50) from generate_series(1, 2000) i;
    insert into pairs select i, 'after', 'x' from generate_series(1, 500) i;
    update notes set id = -id where id % 3 = 0;
    update pairs set a = -a where a % 2 = 0;
    delete from notes where id % 10 = 1;
    commit`);
  await expectEqual(source);
  const epoch = (await source.source()).serving;
  expect(epoch?.epoch).toBe(1);
  // No shard stands apart: every barrier was everyone's.
  expect(new Set(epoch?.shards.map(({ barrier }) => barrier.lsn)).size).toBe(1);
}, 120_000);

it('L2, L3: at four shards restarts at any moment lose and repeat nothing', async () => {
  await using database = await freshDatabase('shards');
  await using source = await deployed(database.url, 4);
  const random = seededRandom();
  for (let round = 0; round < 4; round++) {
    const writing = load(source, random);
    await source.caughtUp();
    await source.restart();
    expect(await writing.stop()).toBeGreaterThan(0);
    await expectEqual(source);
  }
  expect((await source.source()).serving?.epoch).toBe(1);
}, 120_000);

it('L4: the number of shards changes under load, from one to four and from four to two, and no row is lost or doubled', async () => {
  await using database = await freshDatabase('shards');
  await using source = await deployed(database.url, 1);
  const random = seededRandom();
  for (const [shards, mapVersion] of [
    [4, 2],
    [2, 3],
  ] as const) {
    const writing = load(source, random);
    await source.replicator.reshard(project, shards);
    await source.caughtUp();
    expect(await writing.stop()).toBeGreaterThan(0);
    expect((await source.source()).serving).toMatchObject({ mapVersion, epoch: 1 });
    expect(await shardsOf(source)).toBe(shards);
    await expectEqual(source);
  }
  // The map outlives the process, and the next epoch has as many shards.
  await source.restart();
  await source.sql(`update notes set id = id + 5000 where id % 2 = 0`);
  await expectEqual(source);
  expect(await shardsOf(source)).toBe(2);
}, 120_000);

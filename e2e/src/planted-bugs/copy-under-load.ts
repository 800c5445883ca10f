import { freshDatabase, type SeededRandom } from '@sluice/testkit';
import { Finding } from '../oracle/finding.ts';
import { ReplicatedSource } from '../replication/replicated-source.ts';

/** The second one's old rows come without their bodies, which lie out of line. */
const TABLES = ['whole', 'keyed'] as const;
const SCHEMA = TABLES.map(
  (table) => `
    create table ${table} (id int primary key, kind text not null, body text);
    alter table ${table} alter column body set storage external;
    insert into ${table} select i, 'kind ' || i % 3, repeat('body ' || i, 1000) from generate_series(1, 200) i;`,
).join('\n');
const RULES = `version: 1\nstreams:\n${TABLES.map((table) => `  ${table}: { query: "SELECT * FROM ${table} WHERE kind <> 'hidden'" }\n`).join('')}`;

/**
 * L7, L10: tables are copied while they are written to, before the first part of the copy, between its parts, and after it. In
 * the end the streams must show what SQL gives.
 */
export async function copyUnderLoad(random: SeededRandom): Promise<void> {
  await using database = await freshDatabase('copied');
  await using source = new ReplicatedSource(database.url, { tuning: { partBytesMax: 64 << 10 } });
  await source.sql(`${SCHEMA} alter table whole replica identity full`);
  source.start();
  const write = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) for (const table of TABLES) await source.sql(statement(random, table));
  };
  const made = source.faults.arm('slot created');
  const sent = source.faults.arm('part sent');
  const deploying = source.deploy(RULES);
  await made.reached;
  await write(10);
  made.release();
  await sent.reached;
  // What comes now is applied before the rest of the copy is.
  await write(15);
  sent.release();
  await write(5);
  await deploying;
  await expectShown(source);
  await write(10);
  await expectShown(source);
}

/** A statement that succeeds whatever the table holds. */
function statement(random: SeededRandom, table: string): string {
  const id = random.int(1, 230);
  switch (random.int(0, 7)) {
    case 0:
    case 1:
      return `delete from ${table} where id between ${id} and ${id + 3}`;
    case 2:
      return `insert into ${table} values (${id}, 'kind 1', repeat('new ${random.int(1, 99)}', 1000)) on conflict (id) do nothing`;
    case 3:
      return `update ${table} set id = ${300 + id} where id = ${id} and not exists (select from ${table} where id = ${300 + id})`;
    case 4:
      return `update ${table} set body = 'short' where id = ${id}`;
    case 5:
      return `update ${table} set kind = 'hidden' where id % 20 = ${id % 20}`;
    default:
      return `update ${table} set kind = 'kind ${random.int(0, 2)}' where id between ${id} and ${id + 5}`;
  }
}

async function expectShown(source: ReplicatedSource): Promise<void> {
  await source.caughtUp();
  for (const table of TABLES) {
    const wanted = await source.sql(`select id, kind, body from ${table} where kind <> 'hidden'`);
    const shown = await source.rows(table).catch((error: unknown) => {
      throw new Finding(`${table}: ${error instanceof Error ? error.message : String(error)}`);
    });
    const texts = new Set(shown.map((row) => JSON.stringify(row)));
    const missing = wanted.filter((row) => !texts.delete(JSON.stringify(Object.values(row))));
    if (missing.length + texts.size > 0)
      throw new Finding(`${table} differs from SQL: ${missing.length} rows are missing, ${texts.size} are too many`);
  }
}

import { type FreshDatabase, freshDatabase, query, seededRandom, testConfig } from '@sluice/testkit';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { oneStream } from './marked-rules.fixture.ts';
import { parseAndCompile } from './parse-and-compile.ts';
import {
  anyCondition,
  type Claims,
  type Condition,
  itemRow,
  memberRows,
  type Row,
  randomCatalog,
  tokenClaims,
} from './random-conditions.fixture.ts';
import { Buckets } from './visible-rows.fixture.ts';

const { seed } = seededRandom();
const rounds = testConfig().lane === 'long' ? 40 : 4;
let database: FreshDatabase;

beforeAll(async () => {
  database = await freshDatabase('rules_agreement');
  await query(
    database.url,
    `create table items (id int primary key, t text, v varchar(20), m text, n int, s smallint, l bigint, u uuid, b bool);
     create table members (id bigint primary key, who text, team bigint, tag uuid, ok bool)`,
  );
});
afterAll(async () => {
  await database[Symbol.asyncDispose]();
});

test(`L13, L17: sessions see exactly the rows that Postgres selects for them (seed ${seed})`, async () => {
  let compared = 0;
  for (let round = 0; round < rounds; round++) {
    const sample = <T>(arbitrary: fc.Arbitrary<T>, count: number, salt: number): readonly T[] =>
      fc.sample(arbitrary, { seed: seed + round * 8 + salt, numRuns: count });
    const rows = sample(itemRow, 40, 0);
    const [members = []] = sample(memberRows, 1, 1);
    const conditions = sample(anyCondition, 150, 2);
    const tokens = sample(tokenClaims, 8, 3);
    await load('items', rows);
    await load('members', members);
    const streams = await streamsOf(conditions, rows, members);
    for (const claims of tokens) {
      const selected = await selectedBy(streams, claims);
      streams.forEach(({ condition, buckets }, i) => {
        const context = `${condition.rule} for ${JSON.stringify(claims)}`;
        expect(buckets.visibleTo(claims), context).toEqual(selected[i]);
        compared += rows.length;
      });
    }
  }
  expect(compared).toBeGreaterThan(rounds * 20_000);
}, 300_000);

async function load(table: string, rows: readonly Row[]): Promise<void> {
  const values = JSON.stringify(rows.map((row, id) => ({ id, ...row })));
  await query(database.url, `truncate ${table}`);
  await query(database.url, `insert into ${table} select * from json_populate_recordset(null::${table}, $1)`, [values]);
}

interface Stream {
  readonly condition: Condition;
  readonly buckets: Buckets;
}

async function streamsOf(
  conditions: readonly Condition[],
  rows: readonly Row[],
  members: readonly Row[],
): Promise<readonly Stream[]> {
  const streams: Stream[] = [];
  for (const condition of conditions) {
    const result = await parseAndCompile(oneStream(`SELECT * FROM items WHERE ${condition.rule}`), randomCatalog);
    const plan = result.kind === 'ok' ? result.rules.streams[0] : undefined;
    if (plan) streams.push({ condition, buckets: new Buckets(plan, rows, members) });
  }
  return streams;
}

/** What Postgres selects with the claims in place of the functions: one statement for all conditions. */
async function selectedBy(streams: readonly Stream[], claims: Claims): Promise<readonly unknown[]> {
  const columns = streams.map(({ condition }, i) => {
    return `array(select id from items where ${condition.sql(claims)} order by id) as c${i}`;
  });
  const [row = {}] = await query(database.url, `select ${columns.join(',\n')}`);
  return streams.map((_, i) => row[`c${i}`]);
}

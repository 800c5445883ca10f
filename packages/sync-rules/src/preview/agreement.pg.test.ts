import { type FreshDatabase, freshDatabase, query, seededRandom } from '@sluice/testkit';
import fc from 'fast-check';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { oneStream } from '../marked-rules.fixture.ts';
import { parseAndCompile } from '../parse-and-compile.ts';
import type { StreamPlan } from '../plan.ts';
import {
  anyCondition,
  type Claims,
  itemRow,
  memberRows,
  type Row,
  randomCatalog,
  tokenClaims,
} from '../random-conditions.fixture.ts';
import { Buckets } from '../visible-rows.fixture.ts';
import { countStatement, explainStatement, rowsStatement, type SourceStatement } from './statements.ts';

const { seed } = seededRandom();
const ROUNDS = 3;
let database: FreshDatabase;
let client: pg.Client;

beforeAll(async () => {
  database = await freshDatabase('rules_preview');
  client = new pg.Client({ connectionString: database.url, types: { getTypeParser: () => (text: string) => text } });
  await client.connect();
  await client.query(
    `create table items (id int primary key, t text, v varchar(20), m text, n int, s smallint, l bigint, u uuid, b bool);
     create table members (id bigint primary key, who text, team bigint, tag uuid, ok bool)`,
  );
});
afterAll(async () => {
  await client.end();
  await database[Symbol.asyncDispose]();
});

async function rowsOf({ text, values }: SourceStatement): Promise<(string | null)[][]> {
  return (await client.query({ text, values: [...values], rowMode: 'array' })).rows as (string | null)[][];
}
async function load(table: string, rows: readonly Row[]): Promise<void> {
  await query(database.url, `truncate ${table}`);
  const values = JSON.stringify(rows.map((row, id) => ({ id, ...row })));
  await query(database.url, `insert into ${table} select * from json_populate_recordset(null::${table}, $1)`, [values]);
}
async function plansOf(rules: readonly string[]): Promise<readonly { rule: string; plan: StreamPlan }[]> {
  const compiled = await Promise.all(
    rules.map(async (rule) => {
      const result = await parseAndCompile(oneStream(`SELECT * FROM items WHERE ${rule}`), randomCatalog);
      const plan = result.kind === 'ok' ? result.rules.streams[0] : undefined;
      return plan ? [{ rule, plan }] : [];
    }),
  );
  return compiled.flat();
}

test(`L13: a preview shows exactly the rows that the buckets of a session hold, and explains each alike (seed ${seed})`, async () => {
  let compared = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const sample = <T>(arbitrary: fc.Arbitrary<T>, count: number, salt: number): readonly T[] =>
      fc.sample(arbitrary, { seed: seed + round * 8 + salt, numRuns: count });
    const rows = sample(itemRow, 20, 0);
    const [members = []] = sample(memberRows, 1, 1);
    await load('items', rows);
    await load('members', members);
    const streams = await plansOf(sample(anyCondition, 60, 2).map(({ rule }) => rule));
    const tokens: readonly Claims[] = sample(tokenClaims, 3, 3);
    for (const { rule, plan } of streams) {
      const buckets = new Buckets(plan, rows, members);
      for (const claims of tokens) {
        const context = `${rule} for ${JSON.stringify(claims)}`;
        const visible = buckets.visibleTo(claims).map(String);
        expect(
          (await rowsOf(rowsStatement(plan, claims, 100))).map(([id]) => id),
          context,
        ).toEqual(visible);
        expect(await rowsOf(countStatement(plan, claims, 100)), context).toEqual([[String(visible.length)]]);
        const { statement, alternatives } = explainStatement(plan, claims, ['0']);
        const [row = []] = await rowsOf(statement);
        const holds = row.slice(plan.table.columns.length);
        let at = 0;
        const sees = alternatives.map((conditions) => conditions.map(() => holds[at++]).every((held) => held === 't'));
        expect(sees.includes(true), context).toBe(visible.includes('0'));
        compared++;
      }
    }
  }
  expect(compared).toBeGreaterThan(100);
}, 120_000);

import { sourceConnectionFromUrl } from '@sluice/source-connection';
import { freshDatabase, query } from '@sluice/testkit';
import { describe, expect, it } from 'vitest';
import { openSession } from './connection.ts';
import { planRanges, rangeCondition, readTableKey } from './key-ranges.ts';

const kinds = [
  ['an integer', 'id bigint primary key', 'n'],
  [
    'a text with quotes, backslashes and a locale',
    `id text collate "und-x-icu" primary key`,
    `chr(n) || E'\\\\''' || n`,
  ],
  ['a uuid', 'id uuid primary key', 'md5(n::text)::uuid'],
  ['a float', 'id float8 primary key', `case n when 1 then 'NaN'::float8 when 2 then '-Infinity' else n / 3.0 end`],
  [
    'several columns',
    'b text, a timestamptz, primary key (a, b)',
    `n::text, 'epoch'::timestamptz + n % 13 * interval '1.1 days'`,
  ],
  ['an identity index', 'id int not null, unique (id)', 'n'],
] as const;

describe('ranges of a key', () => {
  for (const [name, columns, values] of kinds) {
    it(`L10: every row of a table whose key is ${name} is in exactly one`, async () => {
      await using database = await freshDatabase('ranges');
      await query(
        database.url,
        `create table t (${columns}); insert into t select ${values} from generate_series(1, 5000) n; analyze t`,
      );
      if (name === 'an identity index')
        await query(database.url, 'alter table t replica identity using index t_id_key');
      await using session = await openSession(sourceConnectionFromUrl(database.url));
      const [found] = await session.query<{ oid: number }>(`select 'public.t'::regclass::oid::int as oid`);
      const table = { from: 'ONLY public.t', ...(await readTableKey(session, found?.oid ?? 0)) };
      const ranges = await planRanges(session, table, { rangeBytes: 16_384, rangesMax: 20 });
      expect(ranges.length).toBeGreaterThan(3);
      expect([ranges[0]?.lower, ranges.at(-1)?.upper]).toEqual([undefined, undefined]);
      const counts = [];
      for (const range of ranges) {
        const [row] = await session.query<{ n: number }>(
          `select count(*)::int as n from public.t${rangeCondition(table.key, range)}`,
        );
        counts.push(row?.n ?? 0);
      }
      expect(counts.reduce((a, b) => a + b)).toBe(5000);
      // And they are about equal.
      expect(Math.max(...counts)).toBeLessThan(4 * (5000 / ranges.length));
    });
  }

  it('L10: a table whose key compares by operators that the session does not see is one range', async () => {
    await using database = await freshDatabase('ranges');
    await query(
      database.url,
      `create extension citext; create table t (id citext primary key);
      insert into t select chr(65 + n % 2 * 32) || n from generate_series(1, 5000) n; analyze t`,
    );
    await using session = await openSession(sourceConnectionFromUrl(database.url));
    const [found] = await session.query<{ oid: number }>(`select 'public.t'::regclass::oid::int as oid`);
    expect((await readTableKey(session, found?.oid ?? 0)).key).toEqual([]);
  });

  it('a small table, and one without rows, is one range', async () => {
    await using database = await freshDatabase('ranges');
    await query(
      database.url,
      'create table t (id int primary key); create table u (id int primary key); insert into t values (1)',
    );
    await using session = await openSession(sourceConnectionFromUrl(database.url));
    for (const name of ['t', 'u']) {
      const [found] = await session.query<{ oid: number }>(`select 'public.${name}'::regclass::oid::int as oid`);
      const table = { from: `ONLY public.${name}`, ...(await readTableKey(session, found?.oid ?? 0)) };
      expect(await planRanges(session, table, { rangeBytes: 16_384, rangesMax: 20 })).toEqual([
        { lower: undefined, upper: undefined },
      ]);
    }
  });
});

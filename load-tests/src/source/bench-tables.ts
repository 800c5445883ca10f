import type pg from 'pg';

/** Every row lands in exactly one of this many buckets. */
export const BUCKETS = 1000;

/** Ten columns and about 200 bytes of text that does not repeat; a membership table beside it. */
export const BENCH_TABLES_SQL = `
create table bench_rows (
  id bigint primary key,
  bucket integer not null,
  org uuid not null,
  title text not null,
  body text not null,
  author text not null,
  email text not null,
  amount bigint not null,
  version integer not null,
  created_at timestamptz not null
);
create table members (id integer primary key, user_id text not null, bucket integer not null);
alter table bench_rows replica identity full;
alter table members replica identity full;
insert into members select b, 'user-' || b, b from generate_series(0, ${BUCKETS - 1}) b;
`;

export const BENCH_RULES_YAML = `version: 1
streams:
  rows:
    query: SELECT * FROM bench_rows WHERE bucket IN (SELECT bucket FROM members WHERE user_id = auth.user_id())
`;

/** A row's values for the id in the SQL expression `id`; md5 of distinct inputs is text that does not repeat. */
function rowValues(id: string): string {
  return `${id}, ${id} % ${BUCKETS}, md5('o' || ${id})::uuid, md5('t' || ${id}), md5('b' || ${id}) || md5('c' || ${id}),
          left(md5('a' || ${id}), 12), left(md5('e' || ${id}), 16) || '@example.com', ${id}::bigint * 7919, 0, now()`;
}

/** One transaction that inserts `count` rows with ids from `first`. */
export async function insertBulk(client: pg.Client, first: number, count: number): Promise<void> {
  await client.query(
    `insert into bench_rows select ${rowValues('i')} from generate_series(${first}::bigint, ${first + count - 1}) i`,
  );
}

/** `count` transactions of two updates of older rows and one insert each. */
export async function runMix(client: pg.Client, first: number, count: number): Promise<void> {
  await commitEach(
    client,
    first,
    count,
    `update bench_rows set version = version + 1, title = md5('u' || k) where id = 1 + (k::bigint * 7919) % ${first - 1};
     update bench_rows set version = version + 1, amount = amount + 1 where id = 1 + (k::bigint * 104729) % ${first - 1};
     insert into bench_rows select ${rowValues('k')};`,
  );
}

/** `count` transactions of one insert each. */
export async function runSmall(client: pg.Client, first: number, count: number): Promise<void> {
  await commitEach(client, first, count, `insert into bench_rows select ${rowValues('k')};`);
}

/** Runs the statements once per id `k`, each time in a transaction of its own, inside the server. */
async function commitEach(client: pg.Client, first: number, count: number, statements: string): Promise<void> {
  await client.query(`do $$ begin
    for k in ${first}..${first + count - 1} loop ${statements} commit; end loop;
  end $$`);
}

import { BENCH_TABLES_SQL } from '../source/bench-tables.ts';

/** Rows are spread evenly over this many buckets, all of which one user holds. */
export const SERVED_BUCKETS = 100;
/** Holds every bucket. */
export const USER_OF_ALL = 'all';
/** Holds one bucket. */
export const USER_OF_ONE = 'one';

/** The bench's rows, ten columns and about 200 bytes of text that does not repeat, in buckets of equal size. */
export function servedTablesSql(rows: number): string {
  return `${BENCH_TABLES_SQL}
truncate members;
insert into members select b, '${USER_OF_ALL}', b from generate_series(0, ${SERVED_BUCKETS - 1}) b;
insert into members values (${SERVED_BUCKETS}, '${USER_OF_ONE}', 0);
insert into bench_rows select i, i % ${SERVED_BUCKETS}, md5('o' || i)::uuid, md5('t' || i), md5('b' || i) || md5('c' || i),
  left(md5('a' || i), 12), left(md5('e' || i), 16) || '@example.com', i::bigint * 7919, 0, now()
from generate_series(1, ${rows}) i;
`;
}

import type pg from 'pg';
import { BENCH_TABLES_SQL, insertBulk, runMix, runSmall } from '../source/bench-tables.ts';

export type LoadName = 'bulk' | 'mix' | 'small';
/** A load of the ingest benches. It adds `count` rows, in `changes` changes of rows. */
export interface Load {
  readonly count: number;
  readonly changes: number;
  /** @param first the id of the first row that it adds */
  readonly run: (client: pg.Client, first: number, count: number) => Promise<void>;
}

/** @param scale 1 for figures that are recorded; less for a look */
export function loadsAt(scale: number): Readonly<Record<LoadName, Load>> {
  const [rows, transactions] = [Math.round(1_000_000 * scale), Math.round(100_000 * scale)];
  return {
    bulk: { count: rows, changes: rows, run: insertBulk },
    mix: { count: transactions, changes: transactions * 3, run: runMix },
    small: { count: transactions, changes: transactions, run: runSmall },
  };
}

/** As the other tables, but their updates name the old row by its key alone. */
export const DEFAULT_IDENTITY_SQL = `${BENCH_TABLES_SQL}
alter table bench_rows replica identity default; alter table members replica identity default;`;

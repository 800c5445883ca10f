import type { CellValue } from '@sluice/domain';
import { PINNED_SETTINGS } from '@sluice/pg-values';
import pg from 'pg';
import type { StreamSpec } from '../stack/rules.ts';
import type { Claims } from '../stack/source-database.ts';
import { cellForm } from './cell-form.ts';
import type { DatabaseState, Row, TableState } from './table-state.ts';

/** Says what users should hold by running the rules' own queries on the source, in a session of its own. */
export interface SqlOracle extends AsyncDisposable {
  /** All client tables of each user, in the order of `users`, as of the last commit. */
  statesOf(users: readonly Claims[], streams: readonly StreamSpec[]): Promise<DatabaseState[]>;
}

export async function openOracle(url: string): Promise<SqlOracle> {
  const client = new pg.Client({ connectionString: url, types: { getTypeParser: () => (text: string) => text } });
  client.on('error', () => {});
  await client.connect();
  for (const [name, value] of Object.entries({ ...PINNED_SETTINGS, search_path: 'public' }))
    await client.query('select set_config($1, $2, false)', [name, value]);
  return {
    async statesOf(users, streams) {
      const results = await queryAll(
        client,
        users.flatMap((claims) => [
          `select set_config('request.jwt.claims', ${client.escapeLiteral(JSON.stringify(claims))}, false)`,
          ...streams.map(({ query }) => query),
        ]),
      );
      const perUser = streams.length + 1;
      return users.map((_, i) => stateFrom(streams, results.slice(i * perUser + 1, (i + 1) * perUser)));
    },
    [Symbol.asyncDispose]: () => client.end().catch(() => {}),
  };
}

type Result = pg.QueryArrayResult<(string | null)[]>;

/** All statements in one round trip and one transaction. */
async function queryAll(client: pg.Client, statements: readonly string[]): Promise<Result[]> {
  const text = `begin isolation level repeatable read; ${statements.join('; ')}; commit`;
  const results: unknown = await client.query({ text, rowMode: 'array' });
  // Of several statements pg gives a list of results, which its types leave out.
  return (results as Result[]).slice(1, -1);
}

function stateFrom(streams: readonly StreamSpec[], results: readonly Result[]): DatabaseState {
  const state = new Map<string, TableState>();
  streams.forEach(({ table }, i) => {
    const result = results[i];
    if (!result) throw new RangeError('a query without a result');
    const found = tableFrom(result);
    const before = state.get(table);
    state.set(table, before ? { columns: before.columns, rows: union(before.rows, found.rows) } : found);
  });
  return state;
}

function tableFrom({ fields, rows }: Result): TableState {
  return {
    columns: fields.map(({ name }) => name),
    rows: rows.map((values) => {
      const row: Record<string, CellValue> = {};
      fields.forEach((field, i) => {
        row[field.name] = cellForm(field.dataTypeID, values[i] ?? null);
      });
      return row;
    }),
  };
}

/** A row that two streams give stands once in the client's table (L12). */
function union(some: readonly Row[], others: readonly Row[]): Row[] {
  const textOf = (row: Row): string =>
    JSON.stringify(Object.entries(row).map(([name, value]) => [name, typeof value, String(value)]));
  return [...new Map([...some, ...others].map((row) => [textOf(row), row])).values()];
}

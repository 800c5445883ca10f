import type { CellValue } from '@sluice/domain';
import { PINNED_SETTINGS } from '@sluice/pg-values';
import pg from 'pg';
import type { StreamSpec } from '../stack/rules.ts';
import type { Claims } from '../stack/source-database.ts';
import { cellForm } from './cell-form.ts';
import type { DatabaseState, Row, TableState } from './table-state.ts';

/** Says what a user should hold by running the rules' own queries on the source, in a session of its own. */
export interface SqlOracle extends AsyncDisposable {
  /** All client tables of one user, as of the last commit. */
  stateOf(claims: Claims, streams: readonly StreamSpec[]): Promise<DatabaseState>;
}

export async function openOracle(url: string): Promise<SqlOracle> {
  const client = new pg.Client({ connectionString: url, types: { getTypeParser: () => (text: string) => text } });
  client.on('error', () => {});
  await client.connect();
  for (const [name, value] of Object.entries({ ...PINNED_SETTINGS, search_path: 'public' }))
    await client.query('select set_config($1, $2, false)', [name, value]);
  return {
    async stateOf(claims, streams) {
      await client.query("select set_config('request.jwt.claims', $1, false)", [JSON.stringify(claims)]);
      const state = new Map<string, TableState>();
      for (const { table, query } of streams) {
        const found = await readRows(client, query);
        const before = state.get(table);
        state.set(table, before ? { columns: before.columns, rows: union(before.rows, found.rows) } : found);
      }
      return state;
    },
    [Symbol.asyncDispose]: () => client.end().catch(() => {}),
  };
}

async function readRows(client: pg.Client, query: string): Promise<TableState> {
  const result = await client.query<(string | null)[]>({ text: query, rowMode: 'array' });
  const rows = result.rows.map((values) => {
    const row: Record<string, CellValue> = {};
    result.fields.forEach((field, i) => {
      row[field.name] = cellForm(field.dataTypeID, values[i] ?? null);
    });
    return row;
  });
  return { columns: result.fields.map(({ name }) => name), rows };
}

/** A row that two streams give stands once in the client's table (L12). */
function union(some: readonly Row[], others: readonly Row[]): Row[] {
  const textOf = (row: Row): string =>
    JSON.stringify(Object.entries(row).map(([name, value]) => [name, typeof value, String(value)]));
  return [...new Map([...some, ...others].map((row) => [textOf(row), row])).values()];
}

import type { QueryParameter, QueryRow, QueryValue, SluiceClient, SluiceError } from '@sluice/client';
import type { DrizzleConfig } from 'drizzle-orm';
import {
  type AsyncBatchRemoteCallback,
  drizzle as drizzleProxy,
  type SqliteRemoteDatabase,
} from 'drizzle-orm/sqlite-proxy';
import { columnsUnnamed, transactionUnsupported } from './errors.ts';

type Method = Parameters<AsyncBatchRemoteCallback>[0][number]['method'];

/**
 * Drizzle's SQLite over the local replica of a client, of the browser or of Node: what reads goes to `query`, what writes is one
 * local transaction of `write`, and `batch` is one of all its statements. `transaction` fails with
 * CLIENT_TRANSACTION_UNSUPPORTED.
 */
export function drizzle<TSchema extends Record<string, unknown> = Record<string, never>>(
  client: SluiceClient,
  config?: DrizzleConfig<TSchema>,
): SqliteRemoteDatabase<TSchema> {
  return drizzleProxy<TSchema>(
    async (sql, parameters: QueryParameter[], method) => {
      if (/^(begin|commit|rollback|savepoint|release)\b/i.test(sql)) throw transactionUnsupported();
      return answer(await run(client, { sql, parameters }, method), method);
    },
    async (batch) => {
      const results = await client.write(batch.map(({ sql, params }) => ({ sql, parameters: params })));
      return batch.map(({ method }, i) => answer(results[i] ?? [], method));
    },
    config,
  );
}

/** The client refuses to read what writes before anything of it is run. */
async function run(
  client: SluiceClient,
  { sql, parameters }: { readonly sql: string; readonly parameters: readonly QueryParameter[] },
  method: Method,
): Promise<QueryRow[]> {
  if (method !== 'run') {
    try {
      return await client.query(sql, parameters);
    } catch (error) {
      if ((error as SluiceError).code !== 'CLIENT_QUERY_NOT_READ_ONLY') throw error;
    }
  }
  const [rows = []] = await client.write({ sql, parameters });
  return rows;
}

/** Rows as Drizzle maps them: values in the order of the columns, for `get` of the first row alone. */
function answer(rows: readonly QueryRow[], method: Method): { rows: unknown[] } {
  const [first] = rows;
  if (first) checkNames(Object.keys(first));
  const values = rows.map((row): QueryValue[] => Object.values(row));
  // Of no row at all Drizzle wants to hear undefined, though its type says otherwise.
  return method === 'get' ? { rows: values[0] as QueryValue[] } : { rows: values };
}

/** An object gives keys that look like numbers first, wherever their columns stood. */
function checkNames(names: readonly string[]): void {
  if (names.length > 1 && names.some((name) => /^\d+$/.test(name))) throw columnsUnnamed();
}

import { Client, type QueryResultRow } from 'pg';

/** Runs one statement on a connection of its own and gives its rows. */
export async function query<Row extends QueryResultRow = Record<string, unknown>>(
  url: string,
  sql: string,
  params: readonly unknown[] = [],
): Promise<Row[]> {
  // Some tests give their databases hostile defaults, which are meant for others.
  const client = new Client({ connectionString: url, options: '-c statement_timeout=0' });
  // The server may end the connection as part of a test; the statement's own error is the one to see.
  client.on('error', () => {});
  await client.connect();
  try {
    // Without parameters the simple protocol is used, which takes several statements in one text.
    const result = params.length === 0 ? await client.query<Row>(sql) : await client.query<Row>(sql, [...params]);
    return result.rows ?? [];
  } finally {
    await client.end();
  }
}

/** Quotes a name of a table, role or database. */
export function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

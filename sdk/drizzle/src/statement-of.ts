import type { QueryParameter } from '@sluice/client';
import type { Query } from 'drizzle-orm';

/** What `query`, `live` and `useQuery` take, and one operation of `write`. */
export interface Statement {
  readonly sql: string;
  readonly parameters: readonly QueryParameter[];
}

/** The SQL of a query that was built and not run. Its rows have the names of columns, not those of Drizzle's fields. */
export function statementOf(query: { toSQL(): Query }): Statement {
  const { sql, params } = query.toSQL();
  // The client checks each value; its type is the caller's, by Drizzle's types.
  return { sql, parameters: params as QueryParameter[] };
}

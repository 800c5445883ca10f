import type { QueryParameter } from '@sluice/client';
import type { Compilable } from 'kysely';

/** What `query`, `live` and `useQuery` take, and one operation of `write`. */
export interface Statement {
  readonly sql: string;
  readonly parameters: readonly QueryParameter[];
}

/** The SQL of a query that was built and not run. */
export function statementOf(query: Compilable): Statement {
  const { sql, parameters } = query.compile();
  // The client checks each value; its type is the caller's, by Kysely's types.
  return { sql, parameters: parameters as readonly QueryParameter[] };
}

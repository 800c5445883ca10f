'use client';
import type { QueryParameter, QueryRow } from '@sluice/client';
import { use } from 'react';
import { onServerError } from './errors.ts';
import { isServer } from './is-server.ts';
import { queriesOf } from './query-registry.ts';
import { useQuery } from './use-query.ts';
import { useSluice } from './use-sluice.ts';

const NO_PARAMETERS: readonly QueryParameter[] = [];
/** While there is no client: a provider that gets one renders everything within again. */
const never = new Promise<never>(() => undefined);

/**
 * As `useQuery`, but suspends until there are rows and throws a failure, for the Suspense and error boundaries around it. On a
 * server it always throws, and React goes on in the browser.
 * @throws SluiceError CLIENT_ON_SERVER, CLIENT_PROVIDER_MISSING, CLIENT_QUERY_*, CLIENT_CLOSED
 */
export function useSuspenseQuery<T = QueryRow>(
  sql: string,
  parameters: readonly QueryParameter[] = NO_PARAMETERS,
): readonly T[] {
  if (isServer) throw onServerError();
  const client = useSluice();
  const { rows, error } = useQuery<T>(sql, parameters);
  use(client ? queriesOf(client).get(sql, parameters).loaded() : never);
  if (error) throw error;
  return rows;
}

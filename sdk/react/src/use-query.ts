'use client';
import type { QueryParameter, QueryRow } from '@sluice/client';
import { useSyncExternalStore } from 'react';
import { isServer } from './is-server.ts';
import { queriesOf } from './query-registry.ts';
import { LOADING, type QueryResult } from './query-result.ts';
import { useSluice } from './use-sluice.ts';

const NO_PARAMETERS: readonly QueryParameter[] = [];
const getLoading = (): QueryResult<never> => LOADING;
const subscribeToNothing = (): (() => void) => () => undefined;

/**
 * The rows of one reading statement, live: the component renders again whenever a checkpoint or a write changed the result.
 * Components with the same SQL and parameters share one query. `T` is the caller's knowledge of the SQL.
 * @throws SluiceError CLIENT_PROVIDER_MISSING
 */
export function useQuery<T = QueryRow>(
  sql: string,
  parameters: readonly QueryParameter[] = NO_PARAMETERS,
): QueryResult<T> {
  const client = useSluice();
  // On a server nothing would ever end the query.
  const query = client && !isServer ? queriesOf(client).get(sql, parameters) : undefined;
  const result = useSyncExternalStore(
    query?.subscribe ?? subscribeToNothing,
    query?.getResult ?? getLoading,
    getLoading,
  );
  return result as QueryResult<T>;
}

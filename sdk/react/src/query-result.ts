import type { SluiceError } from '@sluice/client';

/** What a live query has to show. */
export interface QueryResult<T> {
  /** Empty while loading and after a failure. A row that did not change is the object that it was. */
  readonly rows: readonly T[];
  /** True until the first result; on a server always. */
  readonly isLoading: boolean;
  /** Why the query cannot run now; it heals by itself when a checkpoint makes it runnable. */
  readonly error: SluiceError | undefined;
}

const NO_ROWS: readonly never[] = Object.freeze([]);

/** One object, so that nothing renders again while nothing arrived. */
export const LOADING: QueryResult<never> = Object.freeze({ rows: NO_ROWS, isLoading: true, error: undefined });

/** Rows of a query that fails would be of another checkpoint than the rest of the page, so there are none (L12). */
export function failed(error: SluiceError): QueryResult<never> {
  return { rows: NO_ROWS, isLoading: false, error };
}

import type { QueryParameter, QueryRow, SluiceClient, SluiceError, Subscription } from '@sluice/client';
import { keepRows } from './keep-rows.ts';
import { failed, LOADING, type QueryResult } from './query-result.ts';
import type { SetTimer } from './system-clock.ts';

/** How long a query outlives its last component, milliseconds: strict mode, suspense and going back find it again. */
export const LINGER_MS = 5000;

export interface SharedQueryOptions {
  readonly client: SluiceClient;
  readonly sql: string;
  readonly parameters: readonly QueryParameter[];
  readonly setTimer: SetTimer;
  /** It runs, or does not any more. */
  readonly onRunning: (isRunning: boolean) => void;
}

/**
 * One live query for every component that shows it: runs from `start` until it has had neither subscriber nor anybody who waits for
 * its first result for `LINGER_MS`, and can be started again.
 */
export class SharedQuery {
  readonly #options: SharedQueryOptions;
  readonly #listeners = new Set<() => void>();
  #result: QueryResult<QueryRow> = LOADING;
  #subscription: Subscription | undefined;
  /** What suspended components wait for. */
  #loaded: { readonly promise: Promise<void>; readonly resolve: () => void } | undefined;
  #cancelStop: (() => void) | undefined;
  #isRunning = false;

  constructor(options: SharedQueryOptions) {
    this.#options = options;
  }

  get isWatched(): boolean {
    return this.#listeners.size > 0;
  }
  readonly getResult = (): QueryResult<QueryRow> => this.#result;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    this.start();
    return () => {
      this.#listeners.delete(listener);
      this.#lingerIfIdle();
    };
  };

  /** Resolves when there is a result or a failure; the same promise until then. */
  loaded(): Promise<void> {
    this.#loaded ??= withResolvers();
    this.start();
    if (!this.#result.isLoading) this.#loaded.resolve();
    return this.#loaded.promise;
  }

  /** Begins to run unless it does, and puts off its end. */
  start(): void {
    if (!this.#isRunning) this.#run();
    this.#lingerIfIdle();
  }

  /** Forgets its rows: what is not live would be old when it is looked at again. */
  stop(): void {
    if (!this.#isRunning) return;
    this.#isRunning = false;
    this.#cancelStop?.();
    this.#subscription?.unsubscribe();
    this.#subscription = undefined;
    // Whoever still waits begins again.
    this.#loaded?.resolve();
    this.#loaded = undefined;
    this.#result = LOADING;
    this.#options.onRunning(false);
  }

  #run(): void {
    const { client, sql, parameters, onRunning } = this.#options;
    this.#isRunning = true;
    onRunning(true);
    try {
      const subscription: Subscription = client.live(
        sql,
        parameters,
        (rows) => this.#subscription === subscription && this.#show(rows),
        (error) => this.#subscription === subscription && this.#set(failed(error)),
      );
      this.#subscription = subscription;
      // A client that ends before its first checkpoint tells its live queries nothing.
      client.ready().catch((error: SluiceError) => {
        if (this.#subscription === subscription && this.#result.isLoading) this.#set(failed(error));
      });
    } catch (error) {
      // It was closed; live() throws what every other call rejects with.
      this.#result = failed(error as SluiceError);
    }
  }
  #show(next: readonly QueryRow[]): void {
    const { isLoading, error, rows: previous } = this.#result;
    const rows = keepRows(previous, next);
    if (rows !== previous || isLoading || error) this.#set({ rows, isLoading: false, error: undefined });
  }
  #set(result: QueryResult<QueryRow>): void {
    this.#result = result;
    this.#loaded?.resolve();
    this.#lingerIfIdle();
    for (const listener of [...this.#listeners]) listener();
  }

  #lingerIfIdle(): void {
    this.#cancelStop?.();
    this.#cancelStop = undefined;
    // A suspended component has subscribed to nothing yet.
    const isAwaited = this.#loaded !== undefined && this.#result.isLoading;
    if (this.#isRunning && !this.isWatched && !isAwaited)
      this.#cancelStop = this.#options.setTimer(LINGER_MS, () => this.stop());
  }
}

/** A promise that React's `use` sees resolved at once, by the fields with which React marks those that it waited for. */
function withResolvers(): { promise: Promise<void>; resolve: () => void } {
  let settle: () => void = () => undefined;
  const promise = new Promise<void>((resolve) => {
    settle = resolve;
  });
  const resolve = (): void => {
    void Object.assign(promise, { status: 'fulfilled', value: undefined });
    settle();
  };
  return { promise, resolve };
}

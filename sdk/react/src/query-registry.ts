import type { QueryParameter, SluiceClient } from '@sluice/client';
import { listKey } from './cell-key.ts';
import { SharedQuery } from './shared-query.ts';
import { type SetTimer, setSystemTimer } from './system-clock.ts';

/** Queries that run though no component shows them; beyond it the oldest stop at once. */
const IDLE_QUERIES_MAX = 1000;

const registries = new WeakMap<SluiceClient, QueryRegistry>();

/** The queries that components of this client share. */
export function queriesOf(client: SluiceClient): QueryRegistry {
  let registry = registries.get(client);
  if (!registry) {
    registry = new QueryRegistry(client);
    registries.set(client, registry);
  }
  return registry;
}

export class QueryRegistry {
  readonly #client: SluiceClient;
  readonly #setTimer: SetTimer;
  /** Those that run, in the order in which they began. */
  readonly #running = new Map<string, SharedQuery>();

  constructor(client: SluiceClient, setTimer: SetTimer = setSystemTimer) {
    this.#client = client;
    this.#setTimer = setTimer;
  }

  get size(): number {
    return this.#running.size;
  }

  /** The one query with this SQL and these parameters, begun if it did not run. */
  get(sql: string, parameters: readonly QueryParameter[]): SharedQuery {
    const key = `${listKey(parameters)} ${sql}`;
    const known = this.#running.get(key);
    if (known) return known;
    const query: SharedQuery = new SharedQuery({
      client: this.#client,
      sql,
      parameters: [...parameters],
      setTimer: this.#setTimer,
      onRunning: (isRunning) => this.#changed(key, query, isRunning),
    });
    query.start();
    return query;
  }

  #changed(key: string, query: SharedQuery, isRunning: boolean): void {
    if (!isRunning) {
      if (this.#running.get(key) === query) this.#running.delete(key);
      return;
    }
    // One that was stopped and is started again by a component that kept it may find a newer one here: both work.
    if (!this.#running.has(key)) this.#running.set(key, query);
    if (this.#running.size > IDLE_QUERIES_MAX) this.#stopOldestIdle();
  }
  #stopOldestIdle(): void {
    for (const query of this.#running.values()) {
      if (query.isWatched) continue;
      query.stop();
      return;
    }
  }
}

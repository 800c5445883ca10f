import type { SluiceClient } from '@sluice/client';
import {
  type DatabaseIntrospector,
  type Dialect,
  type DialectAdapter,
  type Driver,
  type Kysely,
  type QueryCompiler,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
} from 'kysely';
import { SluiceDriver } from './sluice-driver.ts';

export interface SluiceDialectConfig {
  /** Stays the app's: `destroy()` of Kysely does not close it. */
  readonly client: SluiceClient;
}

/** Kysely's SQLite over the local replica of a client, of the browser or of Node. */
export class SluiceDialect implements Dialect {
  readonly #config: SluiceDialectConfig;

  constructor(config: SluiceDialectConfig) {
    this.#config = config;
  }

  createDriver(): Driver {
    return new SluiceDriver(this.#config.client);
  }
  createAdapter(): DialectAdapter {
    return new SqliteAdapter();
  }
  createQueryCompiler(): QueryCompiler {
    return new SqliteQueryCompiler();
  }
  /** Its queries are refused with CLIENT_QUERY_NOT_READ_ONLY: tables are the server's, and there is nothing to migrate. */
  // Kysely hands over a database of any shape, which no narrower type can name.
  // biome-ignore lint/suspicious/noExplicitAny: the interface's own
  createIntrospector(db: Kysely<any>): DatabaseIntrospector {
    return new SqliteIntrospector(db);
  }
}

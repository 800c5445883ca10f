import { Database } from './sqlite/database.ts';
import type { SqliteModule } from './sqlite/module.ts';

/** Where the one database of a client lives. It is held exclusively from the moment that the port exists. */
export interface Storage {
  readonly kind: 'opfs' | 'file' | 'memory';
  /** Set when this is not the storage that was asked for. */
  readonly degraded: 'CLIENT_STORAGE_UNAVAILABLE' | undefined;
  /** Opens the database, empty if it is new; at most one is open at a time. @throws SqliteFailure */
  open(): Database;
  /** Erases the database, which must be closed. */
  destroy(): void;
  /** Lets go of it, for another owner. The database must be closed. */
  release(): void;
}

/**
 * Settings of a durable database, in the one order that takes effect: WAL is refused without shared memory unless locking
 * is exclusive by then. NORMAL loses at most the last commits at a power cut, never consistency; those come again.
 */
const DURABLE =
  'PRAGMA page_size = 8192; PRAGMA locking_mode = exclusive; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -65536; PRAGMA temp_store = memory; PRAGMA wal_autocheckpoint = 8000';
const IN_MEMORY = 'PRAGMA page_size = 8192; PRAGMA temp_store = memory';

/** Opens a database of a VFS that keeps what is written. @throws SqliteFailure */
export function openDurable(module: SqliteModule, name: string, vfs: string): Database {
  return configured(Database.open(module, name, vfs), DURABLE);
}
function configured(db: Database, settings: string): Database {
  try {
    db.script(settings);
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

/** A database that ends with its owner. */
export function memoryStorage(module: SqliteModule, degraded: Storage['degraded']): Storage {
  return {
    kind: 'memory',
    degraded,
    open: () => configured(Database.open(module, ':memory:', undefined), IN_MEMORY),
    destroy: () => undefined,
    release: () => undefined,
  };
}

import type { Database } from './sqlite/database.ts';

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
export function configureDurable(db: Database): void {
  db.script(
    'PRAGMA page_size = 8192; PRAGMA locking_mode = exclusive; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -65536; PRAGMA temp_store = memory; PRAGMA wal_autocheckpoint = 8000',
  );
}
export function configureMemory(db: Database): void {
  db.script('PRAGMA page_size = 8192; PRAGMA temp_store = memory');
}

import { SqliteModule } from '@sluice/client/core';
import initialize from '@sqlite.org/sqlite-wasm';

let loading: Promise<SqliteModule> | undefined;

/** The one instance of the SQLite build in this process; every client has its own databases in it. */
export function loadSqlite(): Promise<SqliteModule> {
  loading ??= initialize().then((api) => new SqliteModule(api));
  return loading;
}

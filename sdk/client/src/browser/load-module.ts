import initialize from '@sqlite.org/sqlite-wasm';
import { SqliteModule } from '../core/sqlite/module.ts';

/** The SQLite build with only the storage that is used: the others would start two more workers. */
export async function loadModule(): Promise<SqliteModule> {
  const disable = { vfs: { opfs: true, 'opfs-vfs': true, 'opfs-wl': true, kvvfs: true } };
  Object.assign(globalThis, { sqlite3ApiConfig: { disable } });
  return new SqliteModule(await initialize());
}

/** The part of the client that needs no browser; @sluice/node and the worker stand on it. */
export { ClientCore, type ClientCoreOptions } from './core/client-core.ts';
export { coded, sluiceError } from './core/errors.ts';
export { InProcessClient } from './core/in-process-client.ts';
export type { Database } from './core/sqlite/database.ts';
export { SqliteModule } from './core/sqlite/module.ts';
export { memoryStorage, openDurable, type Storage } from './core/storage.ts';
export type { WebSocketLike } from './core/sync/sync-driver.ts';
export { systemClock } from './system-clock.ts';
export { systemRandom } from './system-random.ts';
export * from './types.ts';
export { SDK_NAME } from './version.ts';

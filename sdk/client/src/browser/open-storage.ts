import { type Clock, delay, hexFromBytes } from '@sluice/domain';
import type { SAHPoolUtil } from '@sqlite.org/sqlite-wasm';
import { coded } from '../core/errors.ts';
import type { SqliteModule } from '../core/sqlite/module.ts';
import { memoryStorage, openDurable, type Storage } from '../core/storage.ts';

const DATABASE = '/sluice.db';
const FILES = [DATABASE, `${DATABASE}-wal`, `${DATABASE}-journal`];
/** Database, WAL and journal, with one to spare. */
const POOL_FILES = 4;
/** After a killed worker the browser keeps its file handles locked for about a second. */
const RETRY_MS = 100;
const RETRIES_QUIET = 30;

export interface OpenStorageOptions {
  readonly module: SqliteModule;
  readonly clock: Clock;
  readonly kind: 'opfs' | 'memory';
  readonly project: string;
  readonly name: string;
  readonly signal: AbortSignal;
  /** Another tab holds the database; called once before waiting for it. */
  readonly onBusy: () => void;
}

/**
 * The database of one project and user name, held by this worker alone: it waits for its Web Lock, which the browser
 * frees when a tab dies. Where the browser has no such files, it is a database in memory that says so.
 * @throws AppError CLIENT_CLOSED when the signal is aborted first
 */
export async function openStorage(options: OpenStorageOptions): Promise<Storage> {
  const { module, kind } = options;
  if (kind === 'memory') return memoryStorage(module, undefined);
  if (!hasOpfs()) return memoryStorage(module, 'CLIENT_STORAGE_UNAVAILABLE');
  const folder = `.sluice/${await digest(`${options.project}\n${options.name}`)}`;
  const unlock = await takeLock(`sluice:${folder}`, options);
  try {
    const pool = await openPool(folder, options);
    if (pool) return poolStorage(module, pool, unlock);
  } catch (error) {
    unlock();
    throw error;
  }
  unlock();
  return memoryStorage(module, 'CLIENT_STORAGE_UNAVAILABLE');
}

function hasOpfs(): boolean {
  return (
    typeof navigator.storage?.getDirectory === 'function' &&
    typeof navigator.locks?.request === 'function' &&
    typeof FileSystemFileHandle === 'function' &&
    'createSyncAccessHandle' in FileSystemFileHandle.prototype
  );
}
async function digest(text: string): Promise<string> {
  const bytes = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text));
  return hexFromBytes(new Uint8Array(bytes).subarray(0, 16));
}

/** Resolves once the lock is held; the result gives it back. */
async function takeLock(name: string, { signal, onBusy }: OpenStorageOptions): Promise<() => void> {
  const ifFree = await requestLock(name, { ifAvailable: true });
  if (ifFree) return ifFree;
  onBusy();
  const unlock = await requestLock(name, { signal }).catch(() => undefined);
  if (!unlock) throw coded('CLIENT_CLOSED');
  return unlock;
}
function requestLock(name: string, options: LockOptions): Promise<(() => void) | undefined> {
  return new Promise((resolve, reject) => {
    const held = navigator.locks.request(name, options, (lock) => {
      if (!lock) return resolve(undefined);
      return new Promise<void>((release) => resolve(release));
    });
    held.catch(reject);
  });
}

/** Undefined when this browser refuses such files, as private windows do. */
async function openPool(folder: string, options: OpenStorageOptions): Promise<SAHPoolUtil | undefined> {
  const { module, clock, signal, onBusy } = options;
  for (let tries = 0; ; tries++) {
    try {
      return await module.api.installOpfsSAHPoolVfs({
        name: `sluice-${folder}`,
        directory: folder,
        initialCapacity: POOL_FILES,
        // Without it a failed start deletes the whole pool, and with it the database.
        preserveOnInitFailure: true,
        // The types leave this one out.
        ...{ forceReinitIfPreviouslyFailed: true, verbosity: 0 },
      });
    } catch (error) {
      if (!isLocked(error)) return undefined;
    }
    if (tries === RETRIES_QUIET) onBusy();
    await delay(clock, RETRY_MS, signal);
    if (signal.aborted) throw coded('CLIENT_CLOSED');
  }
}
function isLocked(error: unknown): boolean {
  const name = (error as { readonly name?: unknown } | undefined)?.name;
  return name === 'NoModificationAllowedError' || name === 'InvalidStateError';
}

function poolStorage(module: SqliteModule, pool: SAHPoolUtil, unlock: () => void): Storage {
  return {
    kind: 'opfs',
    degraded: undefined,
    open: () => openDurable(module, DATABASE, pool.vfsName),
    destroy: () => {
      for (const file of FILES) pool.unlink(file);
    },
    release: () => {
      pool.pauseVfs();
      unlock();
    },
  };
}

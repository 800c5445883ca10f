import { type Clock, delay, hexFromBytes } from '@sluice/domain';
import type { SAHPoolUtil } from '@sqlite.org/sqlite-wasm';
import type { SqliteModule } from '../core/sqlite/module.ts';
import { openDurable, type Storage } from '../core/storage.ts';

const DATABASE = '/sluice.db';
const FILES = [DATABASE, `${DATABASE}-wal`, `${DATABASE}-journal`];
/** Database, WAL and journal, with one to spare. */
const POOL_FILES = 4;
/** After a killed worker the browser may keep its file handles locked for about a second. */
const RETRY_MS = 20;

/** Which database: tabs that name the same address, project and user share one. The address counts without its query. */
export async function databaseId(of: { url: string; project: string; name: string }): Promise<string> {
  const { origin, host, protocol, pathname } = new URL(of.url);
  const address = origin === 'null' ? `${protocol}//${host}` : origin;
  const text = JSON.stringify([`${address}${pathname}`, of.project, of.name]);
  const bytes = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text));
  return hexFromBytes(new Uint8Array(bytes).subarray(0, 16));
}

/** Whether this browser has files for workers, and locks to share them by. */
export function hasOpfs(): boolean {
  return (
    typeof navigator.storage?.getDirectory === 'function' &&
    typeof navigator.locks?.request === 'function' &&
    typeof FileSystemFileHandle === 'function' &&
    'createSyncAccessHandle' in FileSystemFileHandle.prototype
  );
}

/** The files of one database, which this worker may open, release and open again. Whoever has them open has them alone. */
export class OpfsFiles {
  readonly #module: SqliteModule;
  readonly #clock: Clock;
  readonly #folder: string;
  #pool: SAHPoolUtil | undefined;

  constructor(module: SqliteModule, clock: Clock, database: string) {
    this.#module = module;
    this.#clock = clock;
    this.#folder = `.sluice/${database}`;
  }

  /** Tries until nobody else has them; undefined when this browser refuses them, as private windows do, or the signal was aborted. */
  async open(signal: AbortSignal, onWaiting: (waitedMs: number) => void): Promise<Storage | undefined> {
    const beganMs = this.#clock.monotonicMs();
    while (!signal.aborted) {
      try {
        const pool = await this.#acquire();
        if (!signal.aborted) return this.#storage(pool);
        pool.pauseVfs();
        return undefined;
      } catch (error) {
        if (!isLocked(error)) return undefined;
      }
      onWaiting(this.#clock.monotonicMs() - beganMs);
      await delay(this.#clock, RETRY_MS, signal);
    }
    return undefined;
  }
  async #acquire(): Promise<SAHPoolUtil> {
    if (this.#pool) await this.#pool.unpauseVfs();
    this.#pool ??= await this.#module.api.installOpfsSAHPoolVfs({
      name: `sluice-${this.#folder}`,
      directory: this.#folder,
      initialCapacity: POOL_FILES,
      // Without it a failed start deletes the whole pool, and with it the database.
      preserveOnInitFailure: true,
      // The types leave this one out.
      ...{ forceReinitIfPreviouslyFailed: true, verbosity: 0 },
    });
    return this.#pool;
  }
  #storage(pool: SAHPoolUtil): Storage {
    return {
      kind: 'opfs',
      degraded: undefined,
      open: () => openDurable(this.#module, DATABASE, pool.vfsName),
      destroy: () => {
        for (const file of FILES) pool.unlink(file);
      },
      release: () => {
        pool.pauseVfs();
      },
    };
  }
}

function isLocked(error: unknown): boolean {
  const name = (error as { readonly name?: unknown } | undefined)?.name;
  return name === 'NoModificationAllowedError' || name === 'InvalidStateError';
}

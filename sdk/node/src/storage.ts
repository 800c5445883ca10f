import fs from 'node:fs';
import path from 'node:path';
import { openDurable, type SqliteModule, type Storage } from '@sluice/client/core';
import { type ChangeObserver, installFileVfs } from './file-vfs.ts';
import { type FileLock, lockFile } from './lock-file.ts';

let vfsCount = 0;
const sharedVfs = new WeakMap<SqliteModule, string>();

/**
 * A database file of this process alone, with SQLite's `-wal` beside it.
 * @throws AppError CLIENT_STORAGE_BUSY while another live process, or another client of this one, holds it.
 */
export function fileStorage(module: SqliteModule, file: string, onChange?: ChangeObserver): Storage {
  const full = path.resolve(file);
  fs.mkdirSync(path.dirname(full), { recursive: true });
  const lock: FileLock = lockFile(`${full}-lock`);
  const vfs = onChange ? newVfs(module, onChange) : vfsOf(module);
  return {
    kind: 'file',
    degraded: undefined,
    open: () => openDurable(module, full, vfs),
    destroy: () => {
      for (const suffix of ['', '-wal', '-journal', '-shm']) fs.rmSync(`${full}${suffix}`, { force: true });
    },
    release: () => lock.release(),
  };
}

function vfsOf(module: SqliteModule): string {
  const known = sharedVfs.get(module);
  if (known !== undefined) return known;
  const name = newVfs(module, undefined);
  sharedVfs.set(module, name);
  return name;
}
function newVfs(module: SqliteModule, onChange: ChangeObserver | undefined): string {
  const name = `sluice-fs-${++vfsCount}`;
  installFileVfs(module, name, onChange);
  return name;
}

import fs from 'node:fs';
import { coded } from '@sluice/client/core';

export interface FileLock {
  release(): void;
}

/** Files that this process holds; its own id in a lock file says nothing about which client wrote it. */
const held = new Set<string>();

/**
 * Keeps a second owner out of a database. The file holds the owner's process id; one whose process is gone is taken over.
 * @throws AppError CLIENT_STORAGE_BUSY
 */
export function lockFile(file: string): FileLock {
  if (held.has(file)) throw coded('CLIENT_STORAGE_BUSY');
  if (!tryCreate(file)) {
    if (isOwnerAlive(file)) throw coded('CLIENT_STORAGE_BUSY');
    fs.rmSync(file, { force: true });
    if (!tryCreate(file)) throw coded('CLIENT_STORAGE_BUSY');
  }
  held.add(file);
  return {
    release: () => {
      if (held.delete(file)) fs.rmSync(file, { force: true });
    },
  };
}

function tryCreate(file: string): boolean {
  try {
    fs.writeFileSync(file, String(process.pid), { flag: 'wx', mode: 0o600 });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}
function isOwnerAlive(file: string): boolean {
  const pid = Number(fs.readFileSync(file, 'utf8'));
  if (!Number.isInteger(pid) || pid <= 0 || pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

import { execFile } from 'node:child_process';
import { chown, mkdir, readdir, rm, rmdir, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const PREFIX = 'sluice-disk-';
const PART_BYTES = 1 << 20;

/** A file system of a fixed size, in memory. */
export interface SmallDisk extends AsyncDisposable {
  readonly folder: string;
  /** Makes it the folder of whoever owns `file`. */
  giveToOwnerOf(file: string): Promise<void>;
  /** Takes all room that is left. */
  fill(): Promise<void>;
  free(): Promise<void>;
}

/** Undefined where nobody lets us mount one: it asks for root and for a kernel that allows it. */
export async function mountSmallDisk(bytes: number): Promise<SmallDisk | undefined> {
  await sweepAbandoned();
  const folder = path.join(tmpdir(), `${PREFIX}${process.pid}`);
  await mkdir(folder, { mode: 0o755 });
  try {
    await run('mount', ['-t', 'tmpfs', '-o', `size=${bytes},mode=0755`, 'tmpfs', folder]);
  } catch {
    await rmdir(folder);
    return undefined;
  }
  const rows = path.join(folder, 'rows');
  await mkdir(rows, { mode: 0o700 });
  const ballast = path.join(folder, 'ballast');
  return {
    folder: rows,
    async giveToOwnerOf(file) {
      const { uid, gid } = await stat(file);
      await chown(rows, uid, gid);
    },
    async fill() {
      // First in large parts, then what is left of a part.
      for (const part of [PART_BYTES, 4096]) await fillWith(ballast, part);
    },
    free: () => rm(ballast, { force: true }),
    async [Symbol.asyncDispose]() {
      await unmount(folder);
    },
  };
}

async function fillWith(file: string, partBytes: number): Promise<void> {
  const part = Buffer.alloc(partBytes, 'x');
  for (;;) {
    try {
      await writeFile(file, part, { flag: 'a' });
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOSPC') return;
      throw error;
    }
  }
}

async function unmount(folder: string): Promise<void> {
  // Whoever still has a file open there keeps it, but nobody else sees it.
  await run('umount', ['-l', folder]).catch(() => {});
  await rmdir(folder).catch(() => {});
}

/** Of test runs that were killed before they could. */
async function sweepAbandoned(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    if (!name.startsWith(PREFIX) || isRunning(Number(name.slice(PREFIX.length)))) continue;
    await unmount(path.join(tmpdir(), name));
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return pid !== process.pid;
  } catch {
    return false;
  }
}

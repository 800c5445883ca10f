import { existsSync } from 'node:fs';
import { lstat, mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * A folder that survives reboots, that every account may pass through and only we may write: where binaries and data go
 * when root's own folders are closed to the server's account. Its name is known to everybody, so a folder that somebody
 * else made there first is refused: we would run what they put into it.
 */
export async function privateFolder(): Promise<string> {
  const uid = process.getuid?.() ?? 0;
  const folder = join(existsSync('/var/tmp') ? '/var/tmp' : tmpdir(), `sluice-${uid}`);
  await mkdir(folder, { mode: 0o755 }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
  });
  const found = await lstat(folder);
  if (!found.isDirectory() || found.uid !== uid || (found.mode & 0o022) !== 0) {
    throw new Error(
      `${folder} belongs to somebody else; remove it, or start from a folder that all accounts may enter`,
    );
  }
  return folder;
}

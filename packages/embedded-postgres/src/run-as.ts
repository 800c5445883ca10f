import { chown, readFile, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

/** The account that the server runs under. */
export interface Account {
  readonly uid: number;
  readonly gid: number;
}

const nobody: Account = { uid: 65534, gid: 65534 };

/**
 * Postgres refuses to run as root. Root therefore hands it to the `postgres` account where there is one, else to
 * `nobody`; everybody else (undefined) runs it as themselves.
 */
export async function serverAccount(): Promise<Account | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const passwd = await readFile('/etc/passwd', 'utf8').catch(() => '');
  return parseAccount(passwd, 'postgres') ?? nobody;
}

/** Finds one account in the text of `/etc/passwd`. */
export function parseAccount(passwd: string, name: string): Account | undefined {
  for (const line of passwd.split('\n')) {
    const [login, , uid, gid] = line.split(':');
    if (login !== name) continue;
    if (!/^[0-9]+$/.test(uid ?? '') || !/^[0-9]+$/.test(gid ?? '')) return undefined;
    return { uid: Number(uid), gid: Number(gid) };
  }
  return undefined;
}

/** Whether everybody may pass through every existing folder above `path`; a folder below somebody's 0700 home is not. */
export async function isReachableByAll(path: string): Promise<boolean> {
  for (let folder = dirname(path); ; folder = dirname(folder)) {
    const mode = await stat(folder).then(
      (found) => found.mode,
      () => undefined,
    );
    if (mode !== undefined && (mode & 0o001) === 0) return false;
    if (folder === dirname(folder)) return true;
  }
}

export async function giveTo(path: string, account: Account | undefined): Promise<void> {
  if (account) await chown(path, account.uid, account.gid);
}

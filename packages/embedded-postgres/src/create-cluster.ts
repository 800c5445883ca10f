import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Binaries } from './binaries.ts';
import { PostgresStartError } from './errors.ts';
import { type Account, giveTo } from './run-as.ts';
import { serverEnvironment } from './server-environment.ts';

export interface ClusterOptions {
  readonly binaries: Binaries;
  readonly account: Account | undefined;
  readonly dataDir: string;
  readonly superuser: string;
  readonly password: string;
  /** Skip flushing the new files to disk: for clusters that are thrown away. */
  readonly isThrowAway: boolean;
}

export function isCluster(dataDir: string): boolean {
  return existsSync(join(dataDir, 'PG_VERSION'));
}

/**
 * Makes a cluster that asks for the password by SCRAM, sorts by code point and knows UTF-8 whatever the machine's
 * locales. It is made beside its final place and renamed, so a half-made cluster is never taken for a whole one.
 */
export async function createCluster(options: ClusterOptions): Promise<void> {
  const { account, dataDir } = options;
  const half = `${dataDir}.new`;
  await mkdir(dirname(dataDir), { recursive: true });
  await rm(half, { recursive: true, force: true });
  await mkdir(half, { mode: 0o700 });
  await giveTo(half, account);
  const secrets = await mkdtemp(join(tmpdir(), 'sluice-initdb-'));
  try {
    const passwordFile = join(secrets, 'password');
    await writeFile(passwordFile, `${options.password}\n`, { mode: 0o600 });
    await giveTo(passwordFile, account);
    await giveTo(secrets, account);
    await initdb(options, half, passwordFile);
  } finally {
    await rm(secrets, { recursive: true, force: true });
  }
  // An empty folder that the caller made in advance gives way; one with content makes rmdir and so the start fail.
  await rm(dataDir, { recursive: false, force: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ERR_FS_EISDIR') throw error;
  });
  await rename(half, dataDir).catch((cause: unknown) => {
    throw new PostgresStartError(`${dataDir} holds files but no Postgres cluster`, { cause });
  });
}

async function initdb(options: ClusterOptions, folder: string, passwordFile: string): Promise<void> {
  const args = [
    `--pgdata=${folder}`,
    `--username=${options.superuser}`,
    `--pwfile=${passwordFile}`,
    '--auth=scram-sha-256',
    '--encoding=UTF8',
    '--locale=C',
    // Before 17 only the C library could sort; under C it does so by code point as well.
    ...(options.binaries.major >= 17 ? ['--locale-provider=builtin', '--builtin-locale=C.UTF-8'] : []),
    ...(options.isThrowAway ? ['--no-sync'] : []),
  ];
  const child = spawn(options.binaries.initdb, args, {
    cwd: '/',
    env: serverEnvironment(),
    stdio: ['ignore', 'ignore', 'pipe'],
    ...options.account,
  });
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => {
    errors = (errors + chunk.toString()).slice(-4096);
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  if (code !== 0) throw new PostgresStartError('initdb failed', { serverLog: errors });
}

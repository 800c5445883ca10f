import { existsSync } from 'node:fs';
import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type PostgresOptions, type PostgresServer, startPostgres, stopAbandoned } from '@sluice/embedded-postgres';

import { testConfig } from './config.ts';

type Settings = NonNullable<PostgresOptions['settings']>;

/** Fit for many small databases and slots on a small machine, and for losing it all with the power. */
const throwAwaySettings: Settings = {
  wal_level: 'logical',
  fsync: false,
  full_page_writes: false,
  max_connections: 300,
  max_wal_senders: 100,
  max_replication_slots: 100,
  shared_buffers: '64MB',
};
const folderPrefix = 'sluice-test-';

export interface FreshCluster extends PostgresServer {
  /** Starts it again on its port and data; after `kill` or `stop`. It replays its WAL first. */
  restart(): Promise<void>;
}

/**
 * A server of the test's own, for what the shared one cannot be (another `wal_level`, a tiny WAL budget, being killed).
 * It lives in the temporary folder; disposal stops and removes it. `settings` go over the throw-away defaults; `major` is
 * another one than the embedded server's, which setup-tools has fetched.
 */
export async function freshCluster(
  settings: Settings = {},
  { major }: { readonly major?: number } = {},
): Promise<FreshCluster> {
  const folder = await mkdtemp(join(tmpdir(), folderPrefix));
  // mkdtemp closes the folder to others, among them the account that runs the server when we are root.
  await chmod(folder, 0o755);
  await writeFile(join(folder, 'owner'), String(process.pid));
  const options: PostgresOptions = {
    dataDir: join(folder, 'data'),
    settings: { ...throwAwaySettings, ...settings },
    superuser: 'postgres',
    password: 'postgres',
    ...(major === undefined ? {} : { packageFolder: packageOf(major) }),
  };
  let server = await startPostgres(options);
  const { url, port, dataDir, isAdopted } = server;
  return {
    url,
    port,
    dataDir,
    isAdopted,
    get pid() {
      return server.pid;
    },
    stop: () => server.stop(),
    kill: () => server.kill(),
    async restart() {
      server = await startPostgres({ ...options, dataDir, port });
    },
    [Symbol.asyncDispose]: async () => {
      await server.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

function packageOf(major: number): string {
  const folder = join(testConfig().postgresFolder ?? '', String(major));
  if (existsSync(folder)) return folder;
  throw new Error(`no Postgres ${major} in ${folder}: run \`npm run setup-tools -- postgres-${major}\``);
}

/** Stops and removes clusters whose test run was killed before it could. */
export async function sweepAbandonedClusters(): Promise<void> {
  const names = (await readdir(tmpdir())).filter((name) => name.startsWith(folderPrefix));
  for (const folder of names.map((name) => join(tmpdir(), name))) {
    const owner = Number(await readFile(join(folder, 'owner'), 'utf8').catch(() => '0'));
    if (!owner || isRunning(owner)) continue;
    if (await stopAbandoned(join(folder, 'data'))) await rm(folder, { recursive: true, force: true });
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

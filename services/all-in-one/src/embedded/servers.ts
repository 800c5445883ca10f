import path from 'node:path';
import type { Clock } from '@sluice/domain';
import { type PostgresServer, removeCluster, startPostgres } from '@sluice/embedded-postgres';
import pg from 'pg';
import { endAbandonedRedis } from './redis.ts';
import type { LocalSecrets } from './secrets.ts';

export interface EmbeddedServers extends AsyncDisposable {
  /** Control database and bucket store. */
  readonly platform: PostgresServer;
  /** The demo tenant's. Its own server: a logical slot decodes the WAL of its whole server, ours must not be in it. */
  readonly tenant: PostgresServer;
}

const SUPERUSER = 'postgres';
const PLATFORM_FOLDER = 'platform-postgres';
const TENANT_FOLDER = 'tenant-postgres';

/** Starts both servers side by side; when one fails, the other is stopped before the error goes on. */
export async function startServers(
  home: string,
  secrets: LocalSecrets,
  report: (line: string) => void,
): Promise<EmbeddedServers> {
  const starts = await Promise.allSettled([
    startPostgres({
      dataDir: path.join(home, PLATFORM_FOLDER),
      superuser: SUPERUSER,
      password: secrets.platformPassword,
      settings: { max_connections: 100, shared_buffers: '128MB', max_wal_size: '2GB' },
      onProgress: (stage) => report(`platform Postgres: ${stage}`),
    }),
    startPostgres({
      dataDir: path.join(home, TENANT_FOLDER),
      superuser: SUPERUSER,
      password: secrets.tenantPassword,
      settings: {
        wal_level: 'logical',
        max_connections: 50,
        max_replication_slots: 10,
        max_wal_senders: 10,
        max_slot_wal_keep_size: '2GB',
      },
      onProgress: (stage) => report(`demo tenant's Postgres: ${stage}`),
    }),
  ]);
  const [platform, tenant] = starts;
  if (platform.status === 'fulfilled' && tenant.status === 'fulfilled')
    return {
      platform: platform.value,
      tenant: tenant.value,
      async [Symbol.asyncDispose]() {
        await Promise.all([platform.value.stop(), tenant.value.stop()]);
      },
    };
  for (const start of starts) if (start.status === 'fulfilled') await start.value.stop();
  for (const start of starts) if (start.status === 'rejected') throw start.reason;
  throw new Error('unreachable: one start was rejected');
}

/** Removes both servers' data, stopping what a killed start left running. @throws Error when another start is using it */
export async function removeServers(home: string, clock: Clock): Promise<void> {
  for (const folder of [PLATFORM_FOLDER, TENANT_FOLDER])
    if (!(await removeCluster(path.join(home, folder))))
      throw new Error(`${home} is in use: stop the other \`npm start\` first`);
  await endAbandonedRedis(home, clock);
}

/** Makes the database when there is none and answers its URL. `name` is a constant of this service, never input. */
export async function ensureDatabase(server: PostgresServer, name: string): Promise<string> {
  const client = new pg.Client({ connectionString: server.url });
  await client.connect();
  try {
    const found = await client.query('select 1 from pg_database where datname = $1', [name]);
    if (found.rowCount === 0) await client.query(`create database ${client.escapeIdentifier(name)}`);
  } finally {
    await client.end();
  }
  const url = new URL(server.url);
  url.pathname = `/${name}`;
  return url.href;
}

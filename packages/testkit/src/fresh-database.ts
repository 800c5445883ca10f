import { randomBytes } from 'node:crypto';
import { testConfig } from './config.ts';
import { identifier, query } from './query.ts';
import { waitFor } from './wait-for.ts';

export interface FreshDatabase extends AsyncDisposable {
  /** As the superuser. */
  readonly url: string;
  readonly name: string;
}

/**
 * An empty database of the test's own on the shared cluster (or on `cluster`). Disposal drops it together with the
 * replication slots in it, whoever still uses them.
 */
export async function freshDatabase(label = 'test', cluster?: { readonly url: string }): Promise<FreshDatabase> {
  const adminUrl = cluster?.url ?? sharedClusterUrl();
  const readable = label
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '_')
    .slice(0, 40);
  const name = `${readable}_${randomBytes(5).toString('hex')}`;
  await query(adminUrl, `create database ${identifier(name)} template template0`);
  const url = new URL(adminUrl);
  url.pathname = `/${name}`;
  return { url: url.href, name, [Symbol.asyncDispose]: () => dropDatabase(adminUrl, name) };
}

function sharedClusterUrl(): string {
  const { postgresUrl } = testConfig();
  if (!postgresUrl) {
    throw new Error('no shared cluster: name the file *.pg.test.ts (or put it in e2e/), or call freshCluster()');
  }
  return postgresUrl;
}

async function dropDatabase(adminUrl: string, name: string): Promise<void> {
  const slotsLeft = async (): Promise<readonly unknown[]> => {
    await query(
      adminUrl,
      'select pg_terminate_backend(active_pid) from pg_replication_slots where database = $1 and active_pid is not null',
      [name],
    );
    await query(
      adminUrl,
      'select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = $1 and active_pid is null',
      [name],
    );
    return query(adminUrl, 'select slot_name, active_pid from pg_replication_slots where database = $1', [name]);
  };
  await waitFor(async () => (await slotsLeft()).length === 0, { what: `the slots of ${name} to be dropped` });
  await query(adminUrl, `drop database if exists ${identifier(name)} with (force)`);
}

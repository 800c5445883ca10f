import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { InvariantError } from '@sluice/errors';
import { Client } from 'pg';

/** Any number that nobody else locks: it serialises processes that start together. */
const MIGRATION_LOCK = 7_248_310_265;
/** The role under which the store's own statements run; it owns nothing and cannot bypass row-level security. */
export const STORE_ROLE = 'sluice_store_app';

export interface Migration {
  readonly name: string;
  readonly sql: string;
  /** Hex. A shipped migration is never edited: its digest is recorded and compared. */
  readonly sha256: string;
}

/** The migrations in order; their files lie in `src/sql`, also for the compiled package. */
export async function readMigrations(): Promise<Migration[]> {
  const folder = new URL('../../src/sql/', import.meta.url);
  const names = (await readdir(folder)).filter((name) => /^\d{4}_.*\.sql$/.test(name)).sort();
  return Promise.all(
    names.map(async (name) => {
      const sql = await readFile(new URL(name, folder), 'utf8');
      return { name, sql, sha256: createHash('sha256').update(sql).digest('hex') };
    }),
  );
}

/**
 * Brings the schema `sluice_store` of the database at `url` up to date and makes the store's role. The login must be
 * able to create roles and schemas, and to use that role afterwards. Safe to run from several processes at once.
 * @throws InvariantError when a migration that was applied has been edited since.
 */
export async function migrateBucketStore(url: string): Promise<void> {
  const migrations = await readMigrations();
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 10_000 });
  client.on('error', () => {});
  await client.connect();
  try {
    await client.query('select pg_advisory_lock($1)', [MIGRATION_LOCK]);
    await prepare(client);
    const applied = await client.query<{ name: string; sha256: string }>(
      'select name, sha256 from sluice_store.migration',
    );
    const digestByName = new Map(applied.rows.map((row) => [row.name, row.sha256]));
    for (const migration of migrations) {
      const digest = digestByName.get(migration.name);
      if (digest === undefined) await apply(client, migration);
      else if (digest !== migration.sha256)
        throw new InvariantError(`bucket store migration ${migration.name} was edited after it had been applied`);
    }
  } finally {
    // Closing the session also gives the lock back.
    await client.end();
  }
}

async function prepare(client: Client): Promise<void> {
  // Roles belong to the whole server, so another database may have made it, or be about to.
  await client.query(`do $$ begin
    create role ${STORE_ROLE} nologin nobypassrls;
  exception when duplicate_object or unique_violation then null; end $$`);
  await client.query(`grant ${STORE_ROLE} to current_user`);
  await client.query('create schema if not exists sluice_store');
  await client.query(`create table if not exists sluice_store.migration (
    name text primary key, sha256 text not null, applied_at timestamptz not null default now())`);
}

async function apply(client: Client, migration: Migration): Promise<void> {
  await client.query('begin');
  try {
    await client.query(migration.sql);
    await client.query('insert into sluice_store.migration (name, sha256) values ($1, $2)', [
      migration.name,
      migration.sha256,
    ]);
    await client.query('commit');
  } catch (error) {
    await client.query('rollback');
    throw error;
  }
}

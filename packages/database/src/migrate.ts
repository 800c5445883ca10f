import { createHash, randomUUID } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { AppError } from '@sluice/errors';
import pg from 'pg';

/** The folder that ships with this package's repository; the path is the same from src and from dist. */
export const MIGRATIONS_FOLDER = fileURLToPath(new URL('../../../migrations', import.meta.url));

/** Prisma Migrate's own advisory lock, so that its tools and this runner never run at the same time. */
const MIGRATE_LOCK = 72707369;

export interface Migration {
  readonly name: string;
  readonly sql: string;
  /** SHA-256 of the file, lower-case hex, as Prisma Migrate records it. */
  readonly checksum: string;
}

/**
 * Brings the database at `url` up to date and answers the names of the migrations it applied, in order.
 *
 * Each migration and its record in `_prisma_migrations` are one transaction: a crash or a failure leaves nothing, and
 * the next start tries again. Any number of processes may call this at once; one works, the others wait for it.
 * @throws AppError DATABASE_MIGRATION_FAILED, DATABASE_MIGRATION_EDITED, DATABASE_AHEAD
 */
export async function migrate(options: { url: string; folder?: string }): Promise<readonly string[]> {
  const shipped = await readMigrations(options.folder ?? MIGRATIONS_FOLDER);
  const client = new pg.Client({ connectionString: options.url });
  await client.connect();
  try {
    await client.query('SELECT pg_advisory_lock($1)', [MIGRATE_LOCK]);
    await client.query(CREATE_HISTORY);
    const pending = pendingMigrations(shipped, await readHistory(client));
    for (const migration of pending) await apply(client, migration);
    return pending.map((migration) => migration.name);
  } finally {
    await client.end();
  }
}

/** Every folder of `folder` that holds a `migration.sql`, by name. */
export async function readMigrations(folder: string): Promise<readonly Migration[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  const names = entries.filter((entry) => entry.isDirectory() && /^\d{14}_/.test(entry.name)).map(({ name }) => name);
  return await Promise.all(
    names.sort().map(async (name) => {
      const sql = await readFile(path.join(folder, name, 'migration.sql'), 'utf8');
      return { name, sql, checksum: createHash('sha256').update(sql).digest('hex') };
    }),
  );
}

interface HistoryEntry {
  readonly name: string;
  readonly checksum: string;
  readonly isFinished: boolean;
}

function pendingMigrations(shipped: readonly Migration[], history: readonly HistoryEntry[]): readonly Migration[] {
  const shippedByName = new Map(shipped.map((migration) => [migration.name, migration]));
  for (const { name, checksum, isFinished } of history) {
    const details = { migration: name };
    const migration = shippedByName.get(name);
    if (!migration) throw new AppError('DATABASE_AHEAD', { details });
    if (!isFinished) throw new AppError('DATABASE_MIGRATION_FAILED', { details, internal: 'left unfinished earlier' });
    if (migration.checksum !== checksum) throw new AppError('DATABASE_MIGRATION_EDITED', { details });
  }
  const applied = new Set(history.map(({ name }) => name));
  return shipped.filter(({ name }) => !applied.has(name));
}

async function readHistory(client: pg.Client): Promise<readonly HistoryEntry[]> {
  const { rows } = await client.query<HistoryEntry>(
    `SELECT migration_name AS name, checksum, finished_at IS NOT NULL AS "isFinished"
       FROM _prisma_migrations
      WHERE rolled_back_at IS NULL
      ORDER BY migration_name`,
  );
  return rows;
}

async function apply(client: pg.Client, migration: Migration): Promise<void> {
  try {
    await client.query('BEGIN');
    // Without parameters this is one simple query, so the server splits the statements, not we.
    await client.query(migration.sql);
    await client.query(
      `INSERT INTO _prisma_migrations (id, checksum, migration_name, finished_at, applied_steps_count)
       VALUES ($1, $2, $3, now(), 1)`,
      [randomUUID(), migration.checksum, migration.name],
    );
    await client.query('COMMIT');
  } catch (cause) {
    await client.query('ROLLBACK').catch(() => undefined); // The connection may be gone; the server rolls back then.
    throw new AppError('DATABASE_MIGRATION_FAILED', { cause, details: { migration: migration.name } });
  }
}

/** As Prisma Migrate creates it, so that its stock tools agree with what this runner did. */
const CREATE_HISTORY = `
  CREATE TABLE IF NOT EXISTS _prisma_migrations (
    id varchar(36) PRIMARY KEY NOT NULL,
    checksum varchar(64) NOT NULL,
    finished_at timestamptz,
    migration_name varchar(255) NOT NULL,
    logs text,
    rolled_back_at timestamptz,
    started_at timestamptz NOT NULL DEFAULT now(),
    applied_steps_count integer NOT NULL DEFAULT 0
  )`;

import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { freshDatabase, query } from '@sluice/testkit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { MIGRATIONS_FOLDER, migrate, readMigrations } from './migrate.ts';

const author = fileURLToPath(new URL('../scripts/migrate-dev.mjs', import.meta.url));
const run = promisify(execFile);

describe('the migrations runner', () => {
  test('applies every migration once, however many processes start together', async () => {
    await using database = await freshDatabase('migrate');
    const names = (await readMigrations(MIGRATIONS_FOLDER)).map(({ name }) => name);
    const runs = await Promise.all([1, 2, 3].map(() => migrate({ url: database.url })));
    expect(runs.flat()).toEqual(names);
    expect(await migrate({ url: database.url })).toEqual([]);
  });

  test('leaves nothing behind when a migration fails, and goes on once it is put right', async () => {
    await using database = await freshDatabase('migrate_fails');
    const folder = await folderOf({ '20300101000000_first': 'CREATE TABLE first (id int);' });
    await migrate({ url: database.url, folder });
    await addMigration(folder, '20300101000001_second', 'CREATE TABLE second (id int); SELECT 1 / 0;');
    await expect(migrate({ url: database.url, folder })).rejects.toMatchObject({
      code: 'DATABASE_MIGRATION_FAILED',
      details: { migration: '20300101000001_second' },
    });
    expect(await query(database.url, "SELECT to_regclass('second') AS second")).toEqual([{ second: null }]);
    await addMigration(folder, '20300101000001_second', 'CREATE TABLE second (id int);');
    expect(await migrate({ url: database.url, folder })).toEqual(['20300101000001_second']);
  });

  test('refuses a migration that was edited after it was applied', async () => {
    await using database = await freshDatabase('migrate_edited');
    const folder = await folderOf({ '20300101000000_first': 'CREATE TABLE first (id int);' });
    await migrate({ url: database.url, folder });
    await addMigration(folder, '20300101000000_first', 'CREATE TABLE first (id bigint);');
    await expect(migrate({ url: database.url, folder })).rejects.toMatchObject({ code: 'DATABASE_MIGRATION_EDITED' });
  });

  test('refuses a database that a newer release has migrated', async () => {
    await using database = await freshDatabase('migrate_ahead');
    const folder = await folderOf({ '20300101000000_first': 'SELECT 1;', '20300101000001_second': 'SELECT 1;' });
    await migrate({ url: database.url, folder });
    await rm(path.join(folder, '20300101000001_second'), { recursive: true });
    await expect(migrate({ url: database.url, folder })).rejects.toMatchObject({ code: 'DATABASE_AHEAD' });
  });
});

describe('schema.prisma', () => {
  test('is what the migrations make of an empty database, as the engine of Prisma Migrate sees it', async () => {
    await using database = await freshDatabase('drift');
    await migrate({ url: database.url });
    const env = { ...process.env, DATABASE_URL: database.url };
    const check = await run(process.execPath, [author, '--check'], { env });
    expect(check.stdout).toContain('agree');
    const status = await run(process.execPath, [author, 'status'], { env });
    const { drift = null, ...history } = JSON.parse(status.stdout);
    expect(drift).toBeNull();
    expect(history).toMatchObject({ editedMigrationNames: [], failedMigrationNames: [], history: null });
    const left = await query(database.url, "SELECT datname FROM pg_database WHERE datname LIKE 'sluice_shadow%'");
    expect(left).toEqual([]);
  });
});

let scratch = '';
beforeAll(async () => {
  scratch = await mkdtemp(path.join(tmpdir(), 'sluice-migrations-'));
});
afterAll(async () => await rm(scratch, { recursive: true }));

async function folderOf(sqlByName: Readonly<Record<string, string>>): Promise<string> {
  const folder = await mkdtemp(path.join(scratch, 'set-'));
  await cp(path.join(MIGRATIONS_FOLDER, 'migration_lock.toml'), path.join(folder, 'migration_lock.toml'));
  for (const [name, sql] of Object.entries(sqlByName)) await addMigration(folder, name, sql);
  return folder;
}

async function addMigration(folder: string, name: string, sql: string): Promise<void> {
  await mkdir(path.join(folder, name), { recursive: true });
  await writeFile(path.join(folder, name, 'migration.sql'), sql);
}

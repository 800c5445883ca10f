// Prisma's schema engine (WebAssembly) on a live Postgres, for authoring migrations and checking drift offline.
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { PrismaPg } from '@prisma/adapter-pg';
import { bindMigrationAwareSqlAdapterFactory, ColumnTypeEnum } from '@prisma/driver-adapter-utils';
import * as glue from '@prisma/schema-engine-wasm/schema_engine_bg';

export const migrationsFolder = path.resolve(import.meta.dirname, '../../../migrations');
const schemaPath = path.join(migrationsFolder, 'schema.prisma');
const lockPath = path.join(migrationsFolder, 'migration_lock.toml');
const filters = { externalTables: [], externalEnums: [] };
/** Type OIDs: the one-byte internal "char", which the adapter cannot map, and text, which it can. */
const CHAR_OID = 18;
const TEXT_OID = 25;

/**
 * Opens the engine on the database at `url`; the role must be allowed to create databases (the shadow is one).
 * The four verbs answer what the engine answers; `close` ends every connection.
 */
export async function openSchemaEngine(url) {
  await loadWasm();
  const factory = repairedFactory(connectionOf(url));
  const adapter = bindMigrationAwareSqlAdapterFactory(factory);
  const engine = await glue.SchemaEngine.new({ datamodels: [schemaFile()] }, () => {}, adapter);
  const schema = { files: [{ path: schemaFile()[0], content: schemaFile()[1] }] };
  return {
    /** What differs between the migrations and schema.prisma, as a SQL script; undefined when nothing does. */
    async drift() {
      const { exitCode, stdout } = await engine.diff({
        from: { tag: 'migrations', ...migrationsList() },
        to: { tag: 'schemaDatamodel', ...schema },
        script: true,
        exitCode: true,
        filters,
      });
      return exitCode === 0 ? undefined : (stdout ?? 'differs');
    },
    /** Writes `<timestamp>_<name>/migration.sql` and answers its folder name; undefined when nothing changed. */
    async create(name) {
      // The engine refuses to create before it has looked at the history once.
      await engine.devDiagnostic({ migrationsList: migrationsList(), filters });
      const created = await engine.createMigration({
        draft: false,
        migrationName: name,
        migrationsList: migrationsList(),
        schema,
        filters,
      });
      if (!created.migrationScript) return undefined;
      const folder = path.join(migrationsFolder, created.generatedMigrationName);
      fs.mkdirSync(folder);
      fs.writeFileSync(path.join(folder, 'migration.sql'), created.migrationScript);
      return created.generatedMigrationName;
    },
    /** What the engine itself would have to do to the database at `url`: 'applied' is empty when nothing is pending. */
    async apply() {
      const { appliedMigrationNames } = await engine.applyMigrations({ migrationsList: migrationsList(), filters });
      return appliedMigrationNames;
    },
    /** The engine's own reading of the history: pending, edited and failed migrations, drift of the live database. */
    async diagnose() {
      return await engine.diagnoseMigrationHistory({
        migrationsList: migrationsList(),
        optInToShadowDatabase: true,
        filters,
      });
    },
    async close() {
      engine.free();
    },
  };
}

function schemaFile() {
  return [schemaPath, fs.readFileSync(schemaPath, 'utf8')];
}

function migrationsList() {
  const folders = fs
    .readdirSync(migrationsFolder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && fs.existsSync(path.join(migrationsFolder, entry.name, 'migration.sql')))
    .map((entry) => entry.name)
    .sort();
  return {
    baseDir: migrationsFolder,
    lockfile: { path: 'migration_lock.toml', content: fs.readFileSync(lockPath, 'utf8') },
    shadowDbInitScript: '',
    migrationDirectories: folders.map((name) => ({
      path: name,
      migrationFile: {
        path: 'migration.sql',
        content: { tag: 'ok', value: fs.readFileSync(path.join(migrationsFolder, name, 'migration.sql'), 'utf8') },
      },
    })),
  };
}

async function loadWasm() {
  globalThis.PRISMA_WASM_PANIC_REGISTRY = {
    set_message: (message) => process.stderr.write(`schema engine: ${message}\n`),
  };
  const entry = createRequire(import.meta.url).resolve('@prisma/schema-engine-wasm/schema_engine_bg');
  const bytes = fs.readFileSync(path.join(path.dirname(entry), 'schema_engine_bg.wasm'));
  const { instance } = await WebAssembly.instantiate(bytes, { './schema_engine_bg.js': glue });
  glue.__wbg_set_wasm(instance.exports);
  instance.exports.__wbindgen_start?.();
}

/** As parts, never as one string: given a connection string, the adapter's shadow database is the real one. */
function connectionOf(url) {
  const { hostname, port, username, password, pathname } = new URL(url);
  return {
    host: hostname,
    port: Number(port || 5432),
    user: decodeURIComponent(username),
    password: decodeURIComponent(password),
    database: decodeURIComponent(pathname.slice(1)),
    max: 2,
  };
}

/** The adapter with its faults on this path mended; each repair says which. */
function repairedFactory(connection) {
  const factory = new PrismaPg(connection);
  const connect = factory.connect.bind(factory);
  factory.connect = async () => repairAdapter(await connect());
  // The stock shadow drops its database before it closes its own pool, which stalls and leaves databases behind.
  factory.connectToShadowDb = async () => {
    const main = repairAdapter(await connect());
    const database = `sluice_shadow_${crypto.randomUUID()}`;
    await main.executeScript(`CREATE DATABASE "${database}"`);
    const shadow = repairAdapter(await new PrismaPg({ ...connection, database }).connect());
    const dispose = shadow.dispose.bind(shadow);
    shadow.dispose = async () => {
      await dispose();
      await main.executeScript(`DROP DATABASE "${database}" WITH (FORCE)`);
      await main.dispose();
    };
    return shadow;
  };
  return factory;
}

function repairAdapter(adapter) {
  repairQueryable(adapter);
  const startTransaction = adapter.startTransaction.bind(adapter);
  adapter.startTransaction = async (level) => repairQueryable(await startTransaction(level));
  // The stock method splits scripts at every semicolon, which shreds functions and DO blocks.
  adapter.executeScript = async (script) => {
    try {
      await adapter.underlyingDriver().query(script);
    } catch (error) {
      adapter.onError(error);
    }
  };
  return adapter;
}

/** Reads "char" columns as text, then reports them as characters, as the engine expects of the system catalogs. */
function repairQueryable(queryable) {
  let typeOids = [];
  const performIO = queryable.performIO.bind(queryable);
  const queryRaw = queryable.queryRaw.bind(queryable);
  queryable.performIO = async (query) => {
    const result = await performIO(query);
    typeOids = result.fields.map((field) => field.dataTypeID);
    for (const field of result.fields) if (field.dataTypeID === CHAR_OID) field.dataTypeID = TEXT_OID;
    return result;
  };
  queryable.queryRaw = async (query) => {
    const result = await queryRaw(query);
    for (const [column, oid] of typeOids.entries())
      if (oid === CHAR_OID) result.columnTypes[column] = ColumnTypeEnum.Character;
    return result;
  };
  return queryable;
}

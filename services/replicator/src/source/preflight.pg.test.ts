import { Secret } from '@sluice/config';
import { parseProjectId } from '@sluice/domain';
import { type SourceConnection, sourceConnectionFromUrl } from '@sluice/source-connection';
import { freshCluster, freshDatabase, identifier, query } from '@sluice/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CheckResult, preflight, preflightError } from './preflight.ts';

let database: Awaited<ReturnType<typeof freshDatabase>>;
const role = `limited_${process.pid}`;

beforeAll(async () => {
  database = await freshDatabase('preflight');
  await query(
    database.url,
    `create role ${role} login password 'right' nosuperuser;
     create table good (id int primary key); alter table good replica identity full; grant select on good to ${role};
     create table "No Identity" (id int primary key); alter table "No Identity" replica identity nothing;
     create table nothing (id int primary key); alter table nothing replica identity nothing;
     create table by_key (id int primary key);
     create table by_index (id int primary key, code text not null, unique (code, id));
     alter table by_index replica identity using index by_index_code_id_key;
     create table no_key_but_index (code text not null unique);
     alter table no_key_but_index replica identity using index no_key_but_index_code_key;
     create table other_index (id int primary key, code text not null unique);
     alter table other_index replica identity using index other_index_code_key;
     create table late_key (id int primary key deferrable);
     create table "No ""Key""" (id int); alter table "No ""Key""" replica identity full;
     create table hidden (id int primary key); alter table hidden replica identity full;
     alter table hidden enable row level security; grant select on hidden to ${role};
     create view a_view as select 1 as id;`,
  );
});
afterAll(async () => {
  await query(database.url, `drop owned by ${role}; drop role ${role}`);
  await database[Symbol.asyncDispose]();
});

function owner(): SourceConnection {
  return sourceConnectionFromUrl(database.url);
}
function table(name: string): { schema: string; name: string } {
  return { schema: 'public', name };
}
function failedOf(results: readonly CheckResult[]): Record<string, string | undefined> {
  return Object.fromEntries(results.filter(({ ok }) => !ok).map(({ check, code }) => [check, code]));
}
function sqlOf(results: readonly CheckResult[], check: string): string | undefined {
  return results.find((result) => result.check === check)?.sql;
}

describe('preflight', () => {
  it('passes a source that is ready, and warns when slots may keep WAL without bound', async () => {
    const results = await preflight(owner(), [table('good')]);
    expect(failedOf(results)).toEqual({});
    expect(preflightError(results)).toBeUndefined();
    expect(results.find(({ check }) => check === 'wal-budget')).toMatchObject({ ok: true, code: 'SOURCE_WAL_BUDGET' });
  });

  it('reports every problem of every table at once, with what to run', async () => {
    const results = await preflight(owner(), ['good', 'No Identity', 'No "Key"', 'a_view', 'nowhere'].map(table));
    expect(failedOf(results)).toEqual({
      tables: 'SOURCE_TABLE_MISSING',
      'replica-identity': 'SOURCE_REPLICA_IDENTITY',
      'primary-key': 'SOURCE_PRIMARY_KEY',
    });
    expect(sqlOf(results, 'replica-identity')).toBe('ALTER TABLE "public"."No Identity" REPLICA IDENTITY FULL;');
    expect(preflightError(results)).toMatchObject({
      code: 'SOURCE_TABLE_MISSING',
      details: { failed: ['tables', 'replica-identity', 'primary-key'] },
    });
    await query(database.url, sqlOf(results, 'replica-identity') ?? '');
    expect(failedOf(await preflight(owner(), [table('No Identity')]))).toEqual({});
  });

  it('L7: takes tables whose updates and deletes tell the row key, and says what each identity costs', async () => {
    const results = await preflight(owner(), ['good', 'by_key', 'by_index', 'no_key_but_index'].map(table));
    expect(failedOf(results)).toEqual({});
    const report = results.find(({ check }) => check === 'replica-identity-cost');
    expect(report).toMatchObject({ ok: true });
    expect(report?.message.split('\n').map((line) => line.split(';')[0])).toEqual([
      '"public"."good": FULL',
      '"public"."by_key": DEFAULT',
      '"public"."by_index": INDEX',
      '"public"."no_key_but_index": INDEX',
    ]);
  });

  it.each(['other_index', 'late_key', 'nothing'])(
    'L7: refuses %s, whose changes do not tell the row key',
    async (name) => {
      const results = await preflight(owner(), [table(name)]);
      expect(failedOf(results)).toEqual({ 'replica-identity': 'SOURCE_REPLICA_IDENTITY' });
      expect(sqlOf(results, 'replica-identity')).toBe(`ALTER TABLE "public"."${name}" REPLICA IDENTITY FULL;`);
    },
  );

  it('says what a role without rights needs, and changes nothing', async () => {
    const limited = { ...owner(), user: role, password: new Secret('right') };
    const results = await preflight(limited, [table('No Identity'), table('good'), table('hidden')]);
    expect(failedOf(results)).toMatchObject({
      'replication-role': 'SOURCE_ROLE_REPLICATION',
      select: 'SOURCE_SELECT_DENIED',
      'row-security': 'SOURCE_ROW_SECURITY',
      publish: 'SOURCE_PUBLICATION_DENIED',
    });
    expect(sqlOf(results, 'replication-role')).toBe(`ALTER ROLE ${identifier(role)} REPLICATION;`);
    for (const check of ['replication-role', 'select', 'publish'])
      await query(database.url, sqlOf(results, check) ?? '');
    expect(failedOf(await preflight(limited, [table('No Identity'), table('good')]))).toEqual({});
    expect(await query(database.url, 'select 1 from pg_publication')).toEqual([]);
  });

  it('tells an unreachable server, a wrong password and a missing database apart', async () => {
    const cases: readonly [Partial<SourceConnection>, string, string][] = [
      [{ port: 1 }, 'reachable', 'SOURCE_UNREACHABLE'],
      [{ host: 'no-such-host.invalid' }, 'reachable', 'SOURCE_UNREACHABLE'],
      [{ password: new Secret('wrong') }, 'password', 'SOURCE_PASSWORD'],
      [{ database: 'nowhere' }, 'reachable', 'SOURCE_DATABASE_MISSING'],
      [{ tls: { kind: 'verify-full', ca: undefined } }, 'reachable', 'SOURCE_TLS'],
    ];
    for (const [change, check, code] of cases) {
      const results = await preflight({ ...owner(), ...change }, [table('good')]);
      expect(failedOf(results)).toEqual({ [check]: code });
      expect(JSON.stringify(results)).not.toContain('wrong');
    }
  });

  it.each(['SQL_ASCII', 'MULE_INTERNAL'])('refuses a database in %s, whose text may not be UTF-8', async (encoding) => {
    const name = `${database.name}_${encoding.toLowerCase()}`;
    await query(
      database.url,
      `create database ${name} template template0 encoding '${encoding}' locale_provider libc locale 'C'`,
    );
    const results = await preflight({ ...owner(), database: name });
    await query(database.url, `drop database ${name}`);
    expect(failedOf(results)).toEqual({ encoding: 'SOURCE_ENCODING' });
    expect(results.find(({ check }) => check === 'encoding')?.message).toContain('ENCODING UTF8');
  });

  it('takes a database whose encoding Postgres converts', async () => {
    const name = `${database.name}_latin1`;
    await query(
      database.url,
      `create database ${name} template template0 encoding 'LATIN1' locale_provider libc locale 'C'`,
    );
    const results = await preflight({ ...owner(), database: name });
    await query(database.url, `drop database ${name}`);
    expect(failedOf(results)).toEqual({});
  });

  it('warns of what costs the server: many slots, and two projects on one database', async () => {
    const slots = ['sluice_7_0011223344556677', 'sluice_7_copy_00112233', 'sluice_8_0011223344556677'];
    const others = Array.from({ length: 8 }, (_, i) => `other_${database.name}_${i}`);
    for (const slot of [...slots, ...others])
      await query(database.url, 'select pg_create_logical_replication_slot($1, $2)', [slot, 'pgoutput']);
    const codeOf = async (check: string): Promise<string | undefined> =>
      (await preflight(owner(), [], parseProjectId(7))).find((result) => result.check === check)?.code;
    expect(await codeOf('slot-count')).toBe('SOURCE_SLOTS_MANY');
    expect(await codeOf('own-database')).toBe('SOURCE_DATABASE_SHARED');
    for (const slot of [...others, 'sluice_8_0011223344556677'])
      await query(database.url, 'select pg_drop_replication_slot($1)', [slot]);
    expect(await codeOf('own-database')).toBeUndefined();
    expect(preflightError(await preflight(owner(), [], parseProjectId(7)))).toBeUndefined();
  });

  it('finds a server that is not set up for it', async () => {
    await using cluster = await freshCluster({ wal_level: 'replica', max_replication_slots: 1, max_wal_senders: 1 });
    const results = await preflight(sourceConnectionFromUrl(cluster.url));
    expect(failedOf(results)).toEqual({
      'wal-level': 'SOURCE_WAL_LEVEL',
      slots: 'SOURCE_SLOTS_FULL',
      senders: 'SOURCE_SENDERS_FULL',
    });
    expect(sqlOf(results, 'wal-level')).toBe("ALTER SYSTEM SET wal_level = 'logical';");
  });
});

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { Client, type ClientConfig } from 'pg';
import { describe, expect, it } from 'vitest';
import { freshCluster, sweepAbandonedClusters } from './fresh-cluster.ts';
import { freshDatabase } from './fresh-database.ts';
import { query } from './query.ts';
import { waitFor } from './wait-for.ts';

describe('freshDatabase', () => {
  it('gives every caller an empty database of its own that can be a replication source', async () => {
    await using one = await freshDatabase('same name');
    await using other = await freshDatabase('same name');
    await query(one.url, 'create table t (n int); insert into t values (1)');
    expect(await query(one.url, 'select n from t where n = $1', [1])).toEqual([{ n: 1 }]);
    expect(await query(other.url, "select to_regclass('t') as t")).toEqual([{ t: null }]);
    expect(await query(one.url, 'show wal_level')).toEqual([{ wal_level: 'logical' }]);
  });

  it('is dropped with its slots, also with one that is in use and with sessions that are open', async () => {
    await using watch = await freshDatabase('watch');
    const database = await freshDatabase('dropped');
    await query(database.url, "select pg_create_logical_replication_slot('idle_' || $1, 'pgoutput')", [database.name]);
    await query(database.url, "select pg_create_logical_replication_slot('used_' || $1, 'pgoutput')", [database.name]);
    await query(database.url, 'create publication p for all tables');
    const consumer = new Client({ connectionString: database.url, replication: 'database' } as ClientConfig);
    consumer.on('error', () => {});
    await consumer.connect();
    const options = `proto_version '1', publication_names 'p'`;
    const streaming = consumer.query(`START_REPLICATION SLOT used_${database.name} LOGICAL 0/0 (${options})`);
    const ended = streaming.then(
      () => 'ended in order',
      () => 'cut off',
    );
    const active = 'select 1 from pg_replication_slots where database = $1 and active';
    await waitFor(async () => (await query(watch.url, active, [database.name])).length === 1, { what: 'the consumer' });

    await database[Symbol.asyncDispose]();
    const slots = 'select slot_name from pg_replication_slots where database = $1';
    expect(await query(watch.url, slots, [database.name])).toEqual([]);
    expect(await ended).toBe('cut off');
    const databases = 'select 1 from pg_database where datname = $1';
    expect(await query(watch.url, databases, [database.name])).toEqual([]);
  });

  it('passes the error of a statement on', async () => {
    await using database = await freshDatabase();
    await expect(query(database.url, 'select no_such')).rejects.toMatchObject({ code: '42703' });
  });
});

describe('freshCluster', () => {
  it('gives a server with the settings that a test needs, and databases on it', async () => {
    await using cluster = await freshCluster({ wal_level: 'replica', max_connections: 30 });
    await using database = await freshDatabase('own', cluster);
    expect(await query(database.url, 'show wal_level')).toEqual([{ wal_level: 'replica' }]);
  });

  it('comes back with its data on the same port after it was killed', async () => {
    await using cluster = await freshCluster();
    await query(cluster.url, 'create table kept as select 1 as n');
    const { pid } = cluster;
    await cluster.kill();
    await expect(query(cluster.url, 'select 1')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    await cluster.restart();
    expect(await query(cluster.url, 'select n from kept')).toEqual([{ n: 1 }]);
    expect(cluster.pid).not.toBe(pid);
  });

  it('is swept when its test run was killed', async () => {
    const testkit = new URL('../dist/index.js', import.meta.url).href;
    const script = `const { freshCluster } = await import(${JSON.stringify(testkit)});
      const cluster = await freshCluster(); process.stdout.write(cluster.dataDir); process.kill(process.pid, 'SIGKILL');`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let dataDir = '';
    child.stdout.on('data', (chunk: Buffer) => {
      dataDir += chunk.toString();
    });
    await once(child, 'close');
    expect(existsSync(dataDir)).toBe(true);
    await sweepAbandonedClusters();
    expect(existsSync(dataDir)).toBe(false);
  });
});

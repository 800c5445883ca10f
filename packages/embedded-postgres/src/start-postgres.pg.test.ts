import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePort } from './free-port.ts';
import { poll } from './poll.ts';
import { isAlive } from './postmaster-process.ts';
import { type PostgresOptions, type StartStage, startPostgres, stopAbandoned } from './start-postgres.ts';

const login = { superuser: 'admin', password: 'it\'s/@ "secret"' };
const settings = { fsync: 'off', wal_level: 'logical', max_connections: 20 };
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-launcher-'));
  await chmod(folder, 0o755);
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function ask(url: string, sql: string): Promise<unknown> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    const result = await client.query<Record<string, unknown>>(sql);
    return Object.values(result.rows[0] ?? {})[0];
  } finally {
    await client.end();
  }
}

/** Starts the server in a process of its own, as a crashed start would have, and kills only that process. */
async function startAndDie(options: PostgresOptions): Promise<number> {
  const launcher = new URL('../dist/index.js', import.meta.url).href;
  const script = `const { startPostgres } = await import(${JSON.stringify(launcher)});
    const server = await startPostgres(${JSON.stringify(options)});
    process.stdout.write(String(server.pid)); process.kill(process.pid, 'SIGKILL');`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  await once(child, 'close');
  return Number(output);
}

describe('startPostgres', () => {
  it('gives a server with the settings asked for, behind a password, on 127.0.0.1 alone', async () => {
    await using server = await startPostgres({ dataDir: join(folder, 'plain'), settings, ...login });
    expect(await ask(server.url, 'show wal_level')).toBe('logical');
    expect(await ask(server.url, 'show listen_addresses')).toBe('127.0.0.1');
    expect(await ask(server.url, 'show unix_socket_directories')).toBe('');
    expect(await ask(server.url, 'show server_encoding')).toBe('UTF8');
    const wrong = server.url.replace(/:[^:@]*@/, ':wrong@');
    await expect(ask(wrong, 'select 1')).rejects.toMatchObject({ code: '28P01' });
  });

  it('keeps the data over an ordered stop, and stopping twice is harmless', async () => {
    const dataDir = join(folder, 'kept');
    const first = await startPostgres({ dataDir, settings, ...login });
    await ask(first.url, 'create table t as select 7 as n');
    await first.stop();
    await first.stop();
    await using second = await startPostgres({ dataDir, settings, ...login });
    expect(await ask(second.url, 'select n from t')).toBe(7);
    expect(second.isAdopted).toBe(false);
  });

  it('starts again straight after the server itself was killed', async () => {
    const dataDir = join(folder, 'killed');
    const first = await startPostgres({ dataDir, settings, ...login });
    await ask(first.url, 'create table t as select 7 as n');
    await first.kill();
    await using second = await startPostgres({ dataDir, settings, ...login });
    expect(await ask(second.url, 'select n from t')).toBe(7);
  });

  it('takes over the server that a killed process of ours left running', async () => {
    const options = { dataDir: join(folder, 'orphan'), settings, ...login };
    const pid = await startAndDie(options);
    expect(isAlive(pid)).toBe(true);
    await using server = await startPostgres(options);
    expect(server).toMatchObject({ pid, isAdopted: true });
    await server.stop();
    expect(await poll(() => (isAlive(pid) ? undefined : true), 5_000)).toBe(true);
  });

  it('stops an orphan that runs with other settings, and starts anew', async () => {
    const options = { dataDir: join(folder, 'changed'), settings, ...login };
    const pid = await startAndDie(options);
    const stages: StartStage[] = [];
    await using server = await startPostgres({
      ...options,
      settings: { ...settings, max_connections: 21 },
      onProgress: (stage) => stages.push(stage),
    });
    expect(stages).toEqual(['stopping-orphan', 'preparing-binaries', 'starting', 'ready']);
    expect(server.pid).not.toBe(pid);
    expect(await ask(server.url, 'show max_connections')).toBe('21');
  });

  it('stops what a killed process of ours left behind when asked to', async () => {
    const options = { dataDir: join(folder, 'abandoned'), settings, ...login };
    const pid = await startAndDie(options);
    expect(await stopAbandoned(options.dataDir)).toBe(true);
    expect(await poll(() => (isAlive(pid) ? undefined : true), 5_000)).toBe(true);
    expect(await stopAbandoned(options.dataDir)).toBe(true);
  });

  it('never touches a server whose owner is alive', async () => {
    const options = { dataDir: join(folder, 'owned'), settings, ...login };
    await using server = await startPostgres(options);
    expect(await stopAbandoned(options.dataDir)).toBe(false);
    await expect(startPostgres(options)).rejects.toThrow(/is in use/);
    expect(await ask(server.url, 'select 1')).toBe(1);
  });

  it('is not misled by a stale file that names a living process', async () => {
    const dataDir = join(folder, 'stale');
    await (await startPostgres({ dataDir, settings, ...login })).stop();
    await writeFile(
      join(dataDir, 'postmaster.pid'),
      `${process.pid}\n${dataDir}\n1700000000\n1\n\n127.0.0.1\n1 1\nready\n`,
    );
    await using server = await startPostgres({ dataDir, settings, ...login });
    expect(await ask(server.url, 'select 1')).toBe(1);
  });

  it('says that a given port is taken', async () => {
    const port = await freePort();
    const other = createServer().listen(port, '127.0.0.1');
    await once(other, 'listening');
    try {
      const start = startPostgres({ dataDir: join(folder, 'port'), port, settings, ...login });
      await expect(start).rejects.toThrow(`port ${port} is taken`);
    } finally {
      other.close();
    }
  });

  it('passes on what the server says of a setting that it does not know', async () => {
    const start = startPostgres({ dataDir: join(folder, 'bad'), settings: { fsync: 'off', no_such: 1 }, ...login });
    await expect(start).rejects.toThrow(/unrecognized configuration parameter "no_such"/);
  });

  it('leaves a folder with foreign files as it is', async () => {
    const dataDir = join(folder, 'foreign');
    await mkdir(dataDir);
    await writeFile(join(dataDir, 'precious'), 'x');
    await expect(startPostgres({ dataDir, settings, ...login })).rejects.toThrow(/holds files but no Postgres cluster/);
    expect(await readFile(join(dataDir, 'precious'), 'utf8')).toBe('x');
  });

  it('works below a folder that only we may enter', async () => {
    const closed = await mkdtemp(join(tmpdir(), 'sluice-closed-'));
    const server = await startPostgres({ dataDir: join(closed, 'data'), settings, ...login });
    try {
      expect(await ask(server.url, 'select 1')).toBe(1);
    } finally {
      await server.stop();
      await rm(server.dataDir, { recursive: true, force: true });
      await rm(closed, { recursive: true, force: true });
    }
  });
});

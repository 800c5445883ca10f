// The worker's dependency, named where Vite looks before the tests: one that it meets later reloads the page.
import 'fflate';
import { afterEach, describe, expect, test } from 'vitest';
import { afterStatusChanges, BrowserClients, isAt, ROWS, until, versions } from '../testing/browser-clients.ts';
import { createClient } from './create-client.ts';

const clients = new BrowserClients();
afterEach(() => clients.closeAll());

const newName = (): string => clients.newName();
const open = clients.open.bind(clients);
const kill = clients.kill.bind(clients);

describe('client in a browser on OPFS', () => {
  test('a first sync is applied, and live queries see each checkpoint with its commit time', async () => {
    const { client } = open(newName(), 3);
    const seen: [unknown, unknown][] = [];
    const done = new Promise<void>((resolve) => {
      client.live<{ version: number }>('SELECT DISTINCT version FROM items', [], (rows, { checkpoint }) => {
        seen.push([rows, checkpoint?.committedAtMs]);
        if (rows[0]?.version === 3) resolve();
      });
    });
    client.connect();
    await done;
    expect(seen).toEqual([1, 2, 3].map((version) => [[{ version }], version]));
    expect(client.status()).toMatchObject({ connection: 'connected', storage: 'opfs', lastError: undefined });
    expect(await client.verify()).toMatchObject({ ok: true, rows: ROWS });
    expect(new TextDecoder().decode((await client.export()).subarray(0, 15))).toBe('SQLite format 3');
  });

  test('L12: a reload shows the last checkpoint offline and resumes from it', async () => {
    const name = newName();
    const first = open(name, 2);
    first.client.connect();
    await until(first.client, isAt(2));
    kill(first);
    const { client } = open(name, 4);
    await client.ready();
    expect(await versions(client)).toEqual([{ rows: ROWS, low: 2, high: 2 }]);
    client.connect();
    const status = await until(client, isAt(4));
    expect(status.source).toMatchObject({ rowsDone: 2, rowsEstimate: 1 });
    expect(await versions(client)).toEqual([{ rows: ROWS, low: 4, high: 4 }]);
  });

  test('L12: a worker killed at any instant leaves one whole checkpoint, 20 times in a row', async () => {
    const name = newName();
    let told = 0;
    for (let round = 0; round <= 20; round++) {
      const opened = open(name, 1_000_000);
      const { client } = opened;
      if (round > 0) {
        await client.ready();
        const at = client.status().checkpoint?.committedAtMs ?? 0;
        expect(at).toBeGreaterThanOrEqual(told);
        expect(await versions(client)).toEqual([{ rows: ROWS, low: at, high: at }]);
        expect((await client.verify()).problems).toEqual([]);
        told = at;
      }
      client.connect();
      // Checkpoints follow without a pause, so wherever this falls, one is being received or applied.
      await until(client, ({ checkpoint }) => (checkpoint?.committedAtMs ?? 0) > told);
      await afterStatusChanges(client, 1 + Math.floor(Math.random() * 8));
      told = client.status().checkpoint?.committedAtMs ?? 0;
      kill(opened);
    }
  }, 120_000);

  test('L14: a write that was acknowledged survives the kill of its worker at any instant, over checkpoints that go on', async () => {
    const name = newName();
    const acknowledged = new Map<number, string>();
    let id = 0;
    for (let round = 0; round < 12; round++) {
      const opened = open(name, 1_000_000);
      const { client } = opened;
      if (round === 0) client.connect();
      await client.ready();
      expect(
        await client.query('SELECT id, filler FROM items WHERE id > 1000 OR filler LIKE ? ORDER BY id', ['mine %']),
      ).toEqual([...acknowledged].map(([key, filler]) => ({ id: key, filler })).sort((a, b) => a.id - b.id));
      expect((await client.verify()).problems).toEqual([]);
      expect(client.status().writes).toMatchObject({ pending: acknowledged.size, rejected: 0 });
      client.connect();
      const writes = 1 + Math.floor(Math.random() * 20);
      for (let i = 0; i < writes; i++) {
        id++;
        // Every other one changes a row that each checkpoint brings anew.
        const key = id % 2 === 0 ? id : 1000 + id;
        await client.write({ upsert: 'items', values: { id: key, filler: `mine ${id}` } });
        acknowledged.set(key, `mine ${id}`);
      }
      kill(opened);
    }
  }, 120_000);

  test('each user name has a database of its own, and signing out erases one', async () => {
    const mine = newName();
    const { client } = open(mine, 2);
    client.connect();
    await until(client, isAt(2));
    const other = open(newName(), 2);
    await expect(other.client.query('SELECT * FROM items')).rejects.toMatchObject({ code: 'CLIENT_NOT_READY' });
    await client.signOut();
    expect(client.status()).toMatchObject({ connection: 'offline', checkpoint: undefined });
    await expect(client.query('SELECT * FROM items')).rejects.toMatchObject({ code: 'CLIENT_NOT_READY' });
    await client.close();
    const again = open(mine, 2);
    await expect(again.client.query('SELECT * FROM items')).rejects.toMatchObject({ code: 'CLIENT_NOT_READY' });
  });

  test('writing SQL is refused, memory storage says what it is, and a closed client says so', async () => {
    const { client } = open(newName(), 1, { storage: 'memory' });
    client.connect();
    await until(client, isAt(1));
    expect(client.status().storage).toBe('memory');
    await expect(client.query('DELETE FROM items')).rejects.toMatchObject({ code: 'CLIENT_QUERY_NOT_READ_ONLY' });
    const pending = client.query('SELECT 1 AS one');
    await client.close();
    expect(await pending).toEqual([{ one: 1 }]);
    await expect(client.query('SELECT 1')).rejects.toMatchObject({ code: 'CLIENT_CLOSED' });
  });

  test('the bundles as they are shipped open a database on OPFS', async () => {
    const built = new URL('../../dist/index.js', import.meta.url).href;
    const shipped: { createClient: typeof createClient } = await import(/* @vite-ignore */ built);
    const client = shipped.createClient({ url: 'ws://localhost', project: 'demo', auth: () => '', name: newName() });
    expect(await client.query('SELECT sqlite_version() AS version')).toEqual([{ version: '3.54.1' }]);
    expect(client.status()).toMatchObject({ storage: 'opfs', lastError: undefined });
    await client.close();
  });

  test('a worker that cannot start ends in a code', async () => {
    const worker = (): Worker => new Worker(new URL('data:text/javascript,throw new Error()'), { type: 'module' });
    const client = createClient({ url: 'ws://localhost', project: 'demo', auth: () => '', worker });
    await expect(client.ready()).rejects.toMatchObject({ code: 'CLIENT_WORKER_FAILED' });
    expect(() => createClient({ url: 'http://x', project: 'demo', auth: () => '' })).toThrow(/CLIENT_OPTIONS_INVALID/);
  });
});

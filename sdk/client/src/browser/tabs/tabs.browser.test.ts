// The worker's dependency, named where Vite looks before the tests: one that it meets later reloads the page.
import 'fflate';
import { afterEach, describe, expect, test } from 'vitest';
import { BrowserClients, isAt, type OpenedClient, ROWS, until, versions } from '../../testing/browser-clients.ts';
import type { SluiceClient, Status } from '../../types.ts';
import { databaseId } from '../open-storage.ts';
import { leaderLockName, lobbyName, TABS_VERSION } from './tab-messages.ts';
import { requestLock } from './web-lock.ts';

const clients = new BrowserClients();
afterEach(() => clients.closeAll());

const newName = (): string => clients.newName();
const open = clients.open.bind(clients);
const kill = clients.kill.bind(clients);

/** A leader with a checkpoint, and a follower that it serves. */
async function twoTabs(
  name: string,
  lastLsn = 2,
  told?: string,
): Promise<{ leader: OpenedClient; follower: OpenedClient }> {
  const leader = open(name, lastLsn, {}, told);
  leader.client.connect();
  await until(leader.client, isAt(lastLsn));
  const follower = open(name, lastLsn, {}, told);
  await follower.client.ready();
  return { leader, follower };
}
async function written(client: SluiceClient): Promise<number[]> {
  const rows = await client.query<{ id: number }>('SELECT id FROM items WHERE id > 1000 ORDER BY id');
  return rows.map(({ id }) => id);
}
const note = (id: number) => ({ insert: 'items', values: { id, filler: `mine ${id}` } });
function idOf(name: string): Promise<string> {
  return databaseId({ url: 'ws://loopback/', project: 'demo', name });
}
/** What a tab hears in the lobby of a database. */
async function lobbyOf(name: string): Promise<BroadcastChannel> {
  return new BroadcastChannel(lobbyName(await idOf(name)));
}
const lastCode = (code: string) => (status: Status) => status.lastError?.code === code;

describe('tabs of one database', () => {
  test('every call does in a follower what it does in the leader', async () => {
    const { leader, follower } = await twoTabs(newName());
    expect(follower.client.status()).toEqual(leader.client.status());
    expect(follower.client.status()).toMatchObject({ connection: 'connected', storage: 'opfs', lastError: undefined });
    expect(await versions(follower.client)).toEqual([{ rows: ROWS, low: 2, high: 2 }]);
    const returned = await follower.client.write({
      sql: 'INSERT INTO items (id, filler) VALUES (?, ?) RETURNING id, filler',
      parameters: [2001, 'theirs'],
    });
    expect(returned).toEqual([[{ id: 2001, filler: 'theirs' }]]);
    expect(await written(leader.client)).toEqual([2001]);
    expect(await follower.client.verify()).toMatchObject({ ok: true, rows: ROWS });
    expect(new TextDecoder().decode((await follower.client.export()).subarray(0, 15))).toBe('SQLite format 3');
    expect(await follower.client.rejected()).toEqual([]);
    await follower.client.dismiss(1);
    await expect(follower.client.query('DELETE FROM items')).rejects.toMatchObject({
      code: 'CLIENT_QUERY_NOT_READ_ONLY',
    });
    await expect(follower.client.write({ delete: 'nothing', key: { id: 1 } })).rejects.toMatchObject({
      code: 'CLIENT_WRITE_TABLE_UNKNOWN',
    });
    expect((await until(follower.client, ({ writes }) => writes.pending === 1)).writes.pending).toBe(1);
  });

  test('a write in either tab is seen by the live queries of both', async () => {
    const { leader, follower } = await twoTabs(newName());
    const seen = [leader, follower].map(({ client }) => {
      const ids: number[][] = [];
      const both = new Promise<void>((resolve) => {
        client.live<{ id: number }>('SELECT id FROM items WHERE id > 1000 ORDER BY id', [], (rows) => {
          ids.push(rows.map(({ id }) => id));
          if (rows.length === 2) resolve();
        });
      });
      return { ids, both };
    });
    await leader.client.write(note(1001));
    await follower.client.write(note(1002));
    await Promise.all(seen.map(({ both }) => both));
    for (const { ids } of seen) expect(ids.at(-1)).toEqual([1001, 1002]);
  });

  test('when the leader is killed, calls and live queries go on, and no rows are told again that did not change', async () => {
    const { leader, follower } = await twoTabs(newName());
    const told: number[] = [];
    let toldOf: (() => void) | undefined;
    follower.client.live<{ n: number }>('SELECT count(*) AS n FROM items WHERE id > 1000', [], ([row]) => {
      told.push(row?.n ?? -1);
      toldOf?.();
    });
    await follower.client.write(note(1001));
    kill(leader);
    expect(await written(follower.client)).toEqual([1001]);
    const again = new Promise<void>((resolve) => {
      toldOf = resolve;
    });
    await follower.client.write(note(1002));
    await again;
    expect(told).toEqual([0, 1, 2]);
  });

  test('a write that the killed leader did, but did not answer for, is done once and answered', async () => {
    const { leader, follower } = await twoTabs(newName());
    leader.worker.postMessage('mute');
    await leader.client.query('SELECT 1');
    const write = follower.client.write({
      sql: "INSERT INTO items (id, filler) VALUES (1001, 'once') RETURNING id, filler",
    });
    await until(leader.client, ({ writes }) => writes.pending === 1);
    kill(leader);
    expect(await write).toEqual([[{ id: 1001, filler: 'once' }]]);
    expect(await written(follower.client)).toEqual([1001]);
    expect((await until(follower.client, ({ writes }) => writes.pending > 0)).writes.pending).toBe(1);
  });

  test('leaders killed one after the other, at any moment of their taking over, leave nothing open and nothing done twice', async () => {
    const name = newName();
    const first = open(name, 2);
    first.client.connect();
    await until(first.client, isAt(2));
    const tabs = [first];
    for (let i = 0; i < 5; i++) tabs.push(open(name, 2));
    const last = open(name, 2);
    const ids = Array.from({ length: 40 }, (_, i) => 1001 + i);
    const writes = ids.map((id) => last.client.write(note(id)));
    for (const tab of tabs) {
      kill(tab);
      // Whoever is next has come as far as this many messages among the others let it.
      for (let i = Math.floor(Math.random() * 40); i > 0; i--) await navigator.locks.query();
    }
    expect(await Promise.all(writes)).toEqual(ids.map(() => [[]]));
    expect(await written(last.client)).toEqual(ids);
    expect((await until(last.client, ({ writes: { pending } }) => pending > 0)).writes.pending).toBe(ids.length);
  });

  test('the leader that closes hands over at once', async () => {
    const { leader, follower } = await twoTabs(newName());
    await leader.client.close();
    expect(await versions(follower.client)).toEqual([{ rows: ROWS, low: 2, high: 2 }]);
    await expect(leader.client.query('SELECT 1')).rejects.toMatchObject({ code: 'CLIENT_CLOSED' });
  });

  test('calls that a closing follower made are answered before it goes', async () => {
    const { leader, follower } = await twoTabs(newName());
    const write = follower.client.write(note(1001));
    await follower.client.close();
    expect(await write).toEqual([[]]);
    expect(await written(leader.client)).toEqual([1001]);
  });

  test('connected while any tab wants it', async () => {
    const { leader, follower } = await twoTabs(newName());
    follower.client.connect();
    await follower.client.query('SELECT 1');
    leader.client.disconnect();
    await follower.client.query('SELECT 1');
    expect(leader.client.status().connection).toBe('connected');
    follower.client.disconnect();
    await until(leader.client, ({ connection }) => connection === 'offline');
    follower.client.connect();
    await until(leader.client, ({ connection }) => connection === 'connected');
    kill(follower);
    await until(leader.client, ({ connection }) => connection === 'offline');
  });

  test('the token comes from a tab that wants the connection, also when it is not the leader', async () => {
    const name = newName();
    const asked: string[] = [];
    const auth = (tab: string) => () => {
      asked.push(tab);
      return 'token';
    };
    const leader = open(name, 1, { auth: auth('leader') });
    await leader.client.query('SELECT 1');
    const follower = open(name, 1, { auth: auth('follower') });
    follower.client.connect();
    await until(follower.client, isAt(1));
    expect(asked).toEqual(['follower']);
    follower.client.disconnect();
    await until(leader.client, ({ connection }) => connection === 'offline');
    leader.client.connect();
    follower.client.connect();
    await until(leader.client, ({ connection }) => connection === 'connected');
    expect(asked).toEqual(['follower', 'leader']);
  });

  test('an app that gives the leader no token is made good by another tab', async () => {
    const name = newName();
    const leader = open(name, 1, { auth: () => Promise.reject(new Error('signed out here')) });
    const follower = open(name, 1);
    await Promise.all([leader, follower].map(({ client }) => client.query('SELECT 1')));
    leader.client.connect();
    follower.client.connect();
    await until(leader.client, isAt(1));
  });

  test('signing out in one tab erases for all of them, and each is told', async () => {
    const { leader, follower } = await twoTabs(newName());
    follower.client.connect();
    const told = until(leader.client, lastCode('CLIENT_SIGNED_OUT'));
    await follower.client.signOut();
    expect(await told).toMatchObject({ connection: 'offline', checkpoint: undefined });
    await expect(leader.client.query('SELECT * FROM items')).rejects.toMatchObject({ code: 'CLIENT_NOT_READY' });
    expect(follower.client.status()).toMatchObject({ connection: 'offline', lastError: undefined });

    follower.client.connect();
    await until(leader.client, isAt(2));
    expect(leader.client.status().lastError).toBeUndefined();
    const toldAgain = until(follower.client, lastCode('CLIENT_SIGNED_OUT'));
    await leader.client.signOut();
    await toldAgain;
    // Nobody connects by itself after that, not even at a hand-over.
    kill(leader);
    await follower.client.query('SELECT 1');
    expect(follower.client.status().connection).toBe('offline');
  });

  test('another name, project or address is another database; another query of the address is not', async () => {
    const of = { url: 'wss://a.example/sync?x=1', project: 'p', name: 'n' };
    const id = await databaseId(of);
    expect(await databaseId({ ...of, url: 'wss://a.example/sync?x=2' })).toBe(id);
    for (const other of [
      { name: 'm' },
      { project: 'q' },
      { url: 'wss://b.example/sync' },
      { url: 'ws://a.example/sync' },
    ])
      expect(await databaseId({ ...of, ...other })).not.toBe(id);
    expect(await databaseId({ ...of, project: 'p\nn', name: '' })).not.toBe(
      await databaseId({ ...of, project: 'p', name: 'n\n' }),
    );
    const [one, two] = [open(newName(), 1), open(newName(), 2)];
    one.client.connect();
    two.client.connect();
    await Promise.all([until(one.client, isAt(1)), until(two.client, isAt(2))]);
  });

  test('a leader of another version is a code, and this tab goes on when it is gone', async () => {
    const name = newName();
    const lobby = await lobbyOf(name);
    const lock = await requestLock(leaderLockName(await idOf(name)), { steal: true });
    lobby.onmessage = ({ data }) => {
      if (data.kind === 'who') lobby.postMessage({ sluice: TABS_VERSION + 1, kind: 'leader', spoken: 'otherwise' });
    };
    lobby.postMessage('not a message');
    const { client } = open(name, 1);
    await expect(client.query('SELECT 1')).rejects.toMatchObject({ code: 'CLIENT_TABS_INCOMPATIBLE' });
    expect(client.status().lastError?.code).toBe('CLIENT_TABS_INCOMPATIBLE');
    lobby.close();
    lock?.release();
    expect(await client.query('SELECT 1 AS one')).toEqual([{ one: 1 }]);
    await until(client, ({ lastError }) => lastError === undefined);
  });

  test('a leader answers a tab of another version with its own, and rows go to nobody who did not ask', async () => {
    const name = newName();
    const heard: unknown[] = [];
    const lobby = await lobbyOf(name);
    lobby.onmessage = ({ data }) => heard.push(data);
    const { follower } = await twoTabs(name);
    const done = new Promise<void>((resolve) => {
      follower.client.live('SELECT * FROM items', [], () => resolve());
    });
    await done;
    const before = heard.length;
    const answered = new Promise<unknown>((resolve) => {
      lobby.onmessage = ({ data }) => resolve(data);
    });
    lobby.postMessage({ sluice: TABS_VERSION + 1, kind: 'who' });
    expect(await answered).toMatchObject({ sluice: TABS_VERSION, kind: 'leader' });
    lobby.close();
    expect(before).toBeGreaterThan(0);
    for (const message of heard) expect(Object.keys(message as object).length).toBeLessThanOrEqual(4);
    expect(JSON.stringify(heard)).not.toContain('some text');
  });

  test('a lock holder that never answers loses the lock', async () => {
    const name = newName();
    const lock = await requestLock(leaderLockName(await idOf(name)), { steal: true });
    const { client } = open(name, 1, {}, 'hurry');
    const busy = await until(client, ({ lastError }) => lastError !== undefined);
    expect(busy.lastError?.code).toBe('CLIENT_STORAGE_BUSY');
    expect(await client.query('SELECT 1 AS one')).toEqual([{ one: 1 }]);
    await lock?.lost;
  });

  test('a tab about to be frozen hands over, and takes part again when it wakes', async () => {
    const { leader, follower } = await twoTabs(newName());
    leader.worker.postMessage({ kind: 'freeze' });
    await follower.client.write(note(1001));
    kill(follower);
    leader.worker.postMessage({ kind: 'resume' });
    expect(await written(leader.client)).toEqual([1001]);
  });

  test('a leader whose lock was taken steps down, and takes part again', async () => {
    const name = newName();
    const { leader, follower } = await twoTabs(name);
    const lock = await requestLock(leaderLockName(await idOf(name)), { steal: true });
    const writes = [leader.client.write(note(1001)), follower.client.write(note(1002))];
    lock?.release();
    await Promise.all(writes);
    for (const { client } of [leader, follower]) expect(await written(client)).toEqual([1001, 1002]);
  });

  test('a leader that is stuck has its followers told, their calls given up, and the next one leads as soon as it is gone', async () => {
    const { leader, follower } = await twoTabs(newName(), 2, 'hurry');
    const endless = 'WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n';
    leader.client.query(endless).catch(() => undefined);
    const write = follower.client.write(note(1001));
    await until(follower.client, lastCode('CLIENT_STORAGE_BUSY'));
    await expect(write).rejects.toMatchObject({ code: 'CLIENT_TAB_SILENT' });
    kill(leader);
    await follower.client.write(note(1002));
    // Whether the stuck leader would have done the first is nobody's to know; it is dead, and did not.
    expect(await written(follower.client)).toEqual([1002]);
    await until(follower.client, ({ lastError }) => lastError === undefined);
  });

  test('where workers have no files each tab has rows of its own in memory, and says so', async () => {
    const name = newName();
    const tabs = [1, 2].map(() => clients.open(name, 2, {}, 'no-opfs'));
    for (const { client } of tabs) {
      client.connect();
      const status = await until(client, ({ storage }) => storage !== undefined);
      expect(status).toMatchObject({ storage: 'memory', lastError: { code: 'CLIENT_STORAGE_UNAVAILABLE' } });
      await until(client, isAt(2));
    }
    const [one, two] = tabs.map(({ client }) => client);
    await one?.write(note(1001));
    expect(two && (await written(two))).toEqual([]);
  });

  test('too many calls without an answer are refused with a code', async () => {
    const name = newName();
    const lock = await requestLock(leaderLockName(await idOf(name)), { steal: true });
    const { client } = open(name, 1);
    const calls = Array.from({ length: 10_001 }, () => client.query('SELECT 1'));
    await expect(calls.at(-1)).rejects.toMatchObject({ code: 'CLIENT_CALLS_TOO_MANY' });
    lock?.release();
    expect(await Promise.all(calls.slice(0, -1))).toHaveLength(10_000);
  });
});

import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { freePort } from '@sluice/embedded-postgres';
import { query, testConfig, waitFor } from '@sluice/testkit';
import { type Browser, chromium, type Page } from 'playwright';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openOracle } from '../oracle/sql-oracle.ts';
import { differences } from '../oracle/table-state.ts';
import type { StreamSpec } from '../stack/rules.ts';
import { AUTH_SQL } from '../stack/source-database.ts';
import { connectClient, type SyncClient } from '../stack/sync-client.ts';
import { SluiceTree, type TreeOptions } from './sluice-tree.ts';

/** The demo's rules, with the client tables that they feed. */
const MY_AIRPORTS = 'SELECT airport FROM assignments WHERE crew_id = auth.user_id()';
const STREAMS: readonly StreamSpec[] = [
  { name: 'airports', table: 'airports', query: 'SELECT * FROM airports' },
  { name: 'crew', table: 'crew', query: 'SELECT * FROM crew' },
  { name: 'my_assignments', table: 'assignments', query: 'SELECT * FROM assignments WHERE crew_id = auth.user_id()' },
  {
    name: 'my_flights',
    table: 'flights',
    query: `SELECT * FROM flights WHERE origin IN (${MY_AIRPORTS}) OR destination IN (${MY_AIRPORTS})`,
  },
];
const USERS = ['amelia', 'bjorn', 'chiyo', 'farid'];

let options: TreeOptions;
let tree: SluiceTree;
let addresses: Awaited<ReturnType<SluiceTree['ready']>>;
const clients: SyncClient[] = [];
let browser: Browser;
let marks = 0;

beforeAll(async () => {
  const home = await mkdtemp(path.join(tmpdir(), 'sluice-home-'));
  await chmod(home, 0o755); // The embedded servers may run as another account.
  const [board, gateway, controlPlane] = [await freePort(), await freePort(), await freePort()];
  options = { home, ports: { board, gateway, controlPlane }, changesPerSecond: 50 };
  const { chromium: found } = testConfig();
  if (!found) throw new Error('there is no Chromium: run `npm run setup-tools`');
  browser = await chromium.launch({ executablePath: found.path, args: [...found.args] });
});
afterAll(async () => {
  await browser?.close();
  for (const client of clients) await client[Symbol.asyncDispose]();
  await tree?.[Symbol.asyncDispose]();
  await rm(options.home, { recursive: true, force: true });
});

async function start(): Promise<void> {
  tree = new SluiceTree(options);
  addresses = await tree.ready();
}

async function connect(user: string): Promise<SyncClient> {
  const session = async (): Promise<{ token: string; project: string }> =>
    (await (await fetch(`${addresses.board}/api/session?user=${user}`)).json()) as never; // The demo's own answer.
  const client = await connectClient({
    gatewayPort: options.ports.gateway,
    projectRef: (await session()).project,
    claims: { sub: user },
    token: async () => (await session()).token,
    isTapped: true,
  });
  clients.push(client);
  return client;
}

/** Stops the traffic, waits until every client holds all that was committed, and compares each with SQL. */
async function expectEqual(): Promise<void> {
  await setTraffic(false);
  const role = `mark ${++marks}`;
  await query(addresses.tenantDatabase, "update crew set role = $1 where id = 'farid'", [role]);
  await using oracle = await openOracle(addresses.tenantDatabase);
  const expected = await oracle.statesOf(
    USERS.map((sub) => ({ sub })),
    STREAMS,
  );
  for (const [i, client] of clients.entries()) {
    const holdsMark = async (): Promise<boolean> =>
      (await client.sdk.query('select 1 from crew where role = ?', [role])).length > 0;
    await waitFor(holdsMark, { what: `${client.claims.sub} to catch up`, timeoutMs: 60_000 });
    expect(differences(expected[i] ?? new Map(), await client.state(STREAMS))).toEqual([]);
    expect(await client.sdk.verify()).toMatchObject({ ok: true });
  }
  await setTraffic(true);
}

async function setTraffic(running: boolean): Promise<void> {
  await fetch(`${addresses.board}/api/simulator`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ running }),
  });
}

function replaced(client: SyncClient): number {
  return client.tap
    .messages()
    .reduce((sum, message) => sum + (message.type === 'checkpoint' ? message.replace.length : 0), 0);
}

describe('npm start', () => {
  it('killed in the middle of its first load, it loads and serves when started again', async () => {
    const first = new SluiceTree(options);
    await first.prints(/demo project: (snapshot|slot|publication)/i);
    await first.killAll();
    await start();
    expect(tree.output).toContain('queues: a Redis of our own');
    await query(addresses.tenantDatabase, AUTH_SQL);
    for (const user of USERS) await connect(user);
    await expectEqual();
  });

  it('shows the board in Chromium, live: a change in Postgres reaches the page', async () => {
    const page = await browser.newPage();
    await page.goto(`${addresses.board}/?user=amelia`);
    await page.waitForSelector('#board tr');
    await expectText(page, '#connection', 'live');
    await expectText(page, '#storage', 'kept on this device');
    await setTraffic(false);
    await query(
      addresses.tenantDatabase,
      "update flights set remark = 'Seen by a test' where origin in ('ORD', 'ATL')",
    );
    await expectText(page, '#board', 'Seen by a test');
    await setTraffic(true);
    await page.close();
  });

  it('L2, L3: kill -9 of the tree under load: started again, every client equals SQL, and nothing was copied anew', async () => {
    const epochs = clients.map(({ sdk }) => sdk.status().checkpoint?.epoch);
    const sent = clients.map(replaced);
    const writing = writeUntilItFails();
    await waitFor(() => writing.written > 20, { what: 'writes to be under way' });
    await tree.killAll();
    await writing.ended;
    await start();
    await expectEqual();
    expect(clients.map(({ sdk }) => sdk.status().checkpoint?.epoch)).toEqual(epochs);
    expect(clients.map(replaced)).toEqual(sent);
  });

  it('Ctrl-C stops every process in order; the next start goes on, and clients load nothing again', async () => {
    const epochs = clients.map(({ sdk }) => sdk.status().checkpoint?.epoch);
    const sent = clients.map(replaced);
    expect(await tree.interrupt()).toBe(0);
    await start();
    await expectEqual();
    expect(clients.map(({ sdk }) => sdk.status().checkpoint?.epoch)).toEqual(epochs);
    expect(clients.map(replaced)).toEqual(sent);
    expect(await tree.interrupt()).toBe(0);
  });
});

async function expectText(page: Page, selector: string, text: string): Promise<void> {
  await page.locator(selector).filter({ hasText: text }).waitFor({ timeout: 20_000 });
}

/** One small transaction after the other; the number counts those that were acknowledged. */
function writeUntilItFails(): { readonly written: number; readonly ended: Promise<void> } {
  let written = 0;
  const ended = (async () => {
    for (;;) {
      const sql = `update flights set gate = 'K${written}', delay = delay + 1 where id % 500 = ${written % 500}`;
      const isDone = await query(addresses.tenantDatabase, sql).then(
        () => true,
        () => false,
      );
      if (!isDone) return;
      written++;
    }
  })();
  return {
    get written() {
      return written;
    },
    ended,
  };
}

import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { WRITES_TABLES_SQL } from '@sluice/sync-rules';
import { query, randomFrom, type SeededRandom, testConfig, waitFor } from '@sluice/testkit';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Stack, startStack } from '../stack/stack.ts';
import type { SyncClient } from '../stack/sync-client.ts';
import type { Tenant } from '../stack/tenant.ts';

const seed = testConfig().seed ?? randomBytes(4).readUInt32LE(0);
const ROLE = `app_${randomBytes(5).toString('hex')}`;
const CLAIMS = "current_setting('request.jwt.claims')::jsonb";
/** Every local transaction sets a stamp of its own; `written` holds all that were ever set, so what is applied twice stands there twice. */
const TABLES_SQL = `
create role ${ROLE};
create table tasks (id text primary key, owner text not null, stamp text not null, points int check (points < 1000));
alter table tasks replica identity full;
alter table tasks enable row level security;
create policy own on tasks to ${ROLE} using (owner = ${CLAIMS} ->> 'sub') with check (owner = ${CLAIMS} ->> 'sub');
grant select, insert, update, delete on tasks to ${ROLE};
create table written (stamp text not null);
create function note_version() returns trigger language plpgsql security definer as $$ begin
  insert into written values (new.stamp);
  return null;
end $$;
create trigger note_version after insert or update of stamp on tasks for each row execute function note_version();
`;
const TASKS = { name: 'tasks', table: 'tasks', query: 'SELECT * FROM tasks WHERE owner = auth.user_id()' };
const USERS = ['ana', 'ben'];
const STEPS = 120;

let stack: Stack;
let tenant: Tenant;
let folder: string;

beforeAll(async () => {
  stack = await startStack();
  folder = await mkdtemp(path.join(tmpdir(), 'sluice-writes-'));
  tenant = await stack.addTenant({
    ref: 'writing',
    tablesSql: WRITES_TABLES_SQL + TABLES_SQL,
    streams: [TASKS],
    writes: { role: ROLE, tables: { tasks: 'merge' } },
  });
});
afterAll(async () => {
  const url = tenant?.source.url;
  if (url) await query(url, `drop owned by ${ROLE} cascade`);
  await stack?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

/** One user's device that writes, goes offline, loses its link and its process. */
class Device {
  readonly user: string;
  readonly file: string;
  client: SyncClient | undefined;
  /** Of the transactions that break no constraint of the source. */
  readonly stamps: string[] = [];
  refusals = 0;

  constructor(user: string, no: number) {
    this.user = user;
    this.file = path.join(folder, `${user}-${no}.db`);
  }
  async open(): Promise<SyncClient> {
    this.client ??= await tenant.connect(this.user, { tapped: true, file: this.file });
    await this.client.sdk.ready();
    return this.client;
  }

  async write(random: SeededRandom, no: number): Promise<void> {
    const { sdk } = await this.open();
    const stamp = `${path.basename(this.file)} ${no}`;
    const rows = await sdk.query<{ id: string }>('select id from tasks order by id');
    const id = rows.length > 0 && random.chance(0.7) ? random.pick(rows).id : `${this.user}-${random.int(0, 30)}`;
    const isRefused = random.chance(0.1);
    await sdk.write({
      upsert: 'tasks',
      values: { id, owner: this.user, stamp, points: isRefused ? 1000 + no : random.int(0, 999) },
    });
    expect(await sdk.query('select stamp from tasks where id = ?', [id])).toEqual([{ stamp }]);
    if (isRefused) this.refusals++;
    else this.stamps.push(stamp);
  }
}

it(`L14 L15: whatever links and processes do, each local transaction is in the source once or refused, and all are equal to SQL (SLUICE_SEED=${seed})`, async () => {
  const random = randomFrom(seed);
  const devices = USERS.flatMap((user) => [new Device(user, 1), new Device(user, 2)]);
  for (const device of devices) await device.open();
  for (let step = 0; step < STEPS; step++) {
    const device = random.pick(devices);
    const what = random.pick([
      'write',
      'write',
      'write',
      'write',
      'cut',
      'refuse',
      'heal',
      'offline',
      'reopen',
      'remote',
    ]);
    if (what === 'write') await device.write(random, step);
    else if (what === 'cut') device.client?.tap.cut();
    else if (what === 'refuse') device.client?.tap.refuse();
    else if (what === 'heal') device.client?.tap.heal();
    else if (what === 'offline') device.client?.sdk.disconnect();
    else if (what === 'reopen') {
      await device.client?.[Symbol.asyncDispose]();
      device.client = undefined;
      await device.open();
    } else {
      const user = random.pick(USERS);
      await tenant.source.commit(
        `delete from tasks where id = '${user}-${random.int(0, 30)}'`,
        `update tasks set points = 5 where owner = '${user}' and points < ${random.int(0, 400)}`,
      );
    }
  }
  const clients: SyncClient[] = [];
  for (const device of devices) {
    const client = await device.open();
    clients.push(client);
    client.tap.heal();
    client.sdk.connect();
  }
  const isSettled = ({ sdk }: SyncClient): boolean => {
    if (sdk.status().writes.pending > 0) throw new Error(JSON.stringify(sdk.status()));
    return true;
  };
  for (const client of clients)
    await waitFor(() => isSettled(client), { what: 'everything to be settled', timeoutMs: 30_000 });
  await tenant.expectEqual(...clients);
  const written = await query<{ stamp: string; times: number }>(
    tenant.source.url,
    'select stamp, count(*)::int as times from written group by stamp',
  );
  expect(new Set(written.map(({ stamp }) => stamp))).toEqual(new Set(devices.flatMap(({ stamps }) => stamps)));
  expect(written.filter(({ times }) => times > 1)).toEqual([]);
  for (const device of devices) {
    const rejected = await (await device.open()).sdk.rejected();
    expect(rejected.map(({ code }) => code)).toEqual(Array.from({ length: device.refusals }, () => 'WRITE_CONSTRAINT'));
  }
});

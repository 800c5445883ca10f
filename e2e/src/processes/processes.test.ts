import { query, waitFor } from '@sluice/testkit';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import type { SyncClient } from '../stack/sync-client.ts';
import type { Customer } from './customer.ts';
import { Platform } from './platform.ts';
import type { ServiceName, ServiceProcess } from './service-process.ts';
import { logWriters, mixedWriters, writerCount } from './writers-log.ts';

const TABLES = `
create table notes (id int primary key, owner text not null, body text);
alter table notes replica identity full;
insert into notes select i, 'user-' || i % 3, 'note ' || i from generate_series(1, 300) i;
`;
const MY_NOTES = { name: 'my_notes', table: 'notes', query: 'SELECT * FROM notes WHERE owner = auth.user_id()' };
const PROBE = { timeout: 5_000, interval: 50 };
/** How long a fault may show: everything heals by itself within this time. */
const HEALS_WITHIN_MS = 10_000;

let platform: Platform;
let customers: readonly Customer[] = [];
let clients: readonly SyncClient[] = [];
const running = new Map<ServiceName, ServiceProcess[]>();

async function add(name: ServiceName): Promise<ServiceProcess> {
  const added = await platform.add(name);
  running.set(name, [...(running.get(name) ?? []), added]);
  return added;
}
async function kill(process: ServiceProcess): Promise<void> {
  await process.kill();
  gone(process);
}
function gone(process: ServiceProcess): void {
  const left = (running.get(process.name) ?? []).filter((other) => other !== process);
  running.set(process.name, left);
}

beforeAll(async () => {
  platform = await Platform.start();
  await add('control-plane');
  await Promise.all([add('replicator'), add('bucket-worker'), add('gateway')]);
  await logWriters(platform.storeUrl);
});
afterEach(({ task }) => {
  if (task.result?.state === 'fail') process.stderr.write(`${platform.log}\n`);
});
afterAll(async () => await platform?.[Symbol.asyncDispose]());

const everyoneEqual = (): Promise<unknown> =>
  Promise.all(customers.map((customer, i) => customer.expectEqual(...[clients[i] ?? []].flat())));

/** Commits after the fault, and waits until every client holds that and equals SQL: with no kick of any kind. */
async function heals(): Promise<void> {
  const begun = performance.now();
  await Promise.all(
    customers.map(({ source }, i) => source.commit(`update notes set body = 'healed ${i}' where id < 50`)),
  );
  await everyoneEqual();
  expect(performance.now() - begun).toBeLessThan(HEALS_WITHIN_MS);
}

const labels = (processes: readonly ServiceProcess[]): string[] => processes.map(({ label }) => label).toSorted();

/** Waits until each live process of the kind holds one of the customers. */
async function spreadOver(name: 'replicator' | 'bucket-worker'): Promise<void> {
  const holderOf = (customer: Customer): Promise<ServiceProcess> =>
    name === 'replicator' ? platform.replicatorOf(customer) : platform.workerOf(customer);
  const isSpread = async (): Promise<boolean> =>
    labels(await Promise.all(customers.map(holderOf))).join() === labels(running.get(name) ?? []).join();
  await waitFor(isSpread, { what: `each ${name} to hold one of two`, timeoutMs: 20_000 });
}

it('a change reaches a client through four kinds of processes', async () => {
  const named = ['north', 'south'].map((label) => platform.addCustomer(label, TABLES, [MY_NOTES]));
  customers = await Promise.all(named);
  clients = await Promise.all(customers.map((customer) => customer.connect('user-1')));
  await everyoneEqual();
  for (const { source } of customers)
    await source.commit("update notes set body = 'changed' where id = 1", 'delete from notes where id = 4');
  await everyoneEqual();
  for (const { sdk } of clients)
    expect(await sdk.query('select body from notes where id = 1')).toEqual([{ body: 'changed' }]);
});

it('a process that is added takes its share, and clients hold every change meanwhile', async () => {
  await Promise.all([add('replicator'), add('bucket-worker'), add('gateway'), add('control-plane')]);
  await Promise.all([spreadOver('replicator'), spreadOver('bucket-worker')]);
  await heals();
  expect(await writerCount(platform.storeUrl)).toBe(2);
});

it.each(['replicator', 'bucket-worker', 'gateway'] as const)('kill -9 of a %s heals by itself', async (name) => {
  const [victim] = running.get(name) ?? [];
  if (!victim) throw new Error(`there is no ${name}`);
  await kill(victim);
  await heals();
});

it('L3: a replicator and a worker stopped beyond their leases and continued find themselves fenced; nothing is lost', async () => {
  await Promise.all([add('replicator'), add('bucket-worker')]);
  await Promise.all([spreadOver('replicator'), spreadOver('bucket-worker')]);
  const [first] = customers;
  if (!first) throw new Error('there is no customer');
  const frozen = await Promise.all([platform.replicatorOf(first), platform.workerOf(first)]);
  for (const process of frozen) process.signal('SIGSTOP');
  await heals();
  const others = await Promise.all([platform.replicatorOf(first), platform.workerOf(first)]);
  expect(others.map(({ label }) => label)).not.toEqual(frozen.map(({ label }) => label));
  for (const process of frozen) process.signal('SIGCONT');
  await heals();
  await Promise.all([spreadOver('replicator'), spreadOver('bucket-worker')]);
  await heals();
});

it('L2: SIGTERM drains: what a replicator read is stored, another goes on with no gap, and the process ends with 0', async () => {
  const refused = (): number => {
    const messages = ['frame of a former lease dropped', 'frame begins beyond the applied position'];
    const workers = running.get('bucket-worker') ?? [];
    return messages.reduce((sum, message) => workers.reduce((of, worker) => of + worker.count(message), sum), 0);
  };
  const before = refused();
  const writing = new AbortController();
  const written = Promise.all(customers.map(({ source }) => writeUntil(source, writing.signal)));
  await drained('replicator', 'select 1 from sluice_store.project where lease_holder = $1');
  writing.abort();
  await written;
  await heals();
  expect(refused()).toBe(before);
});

it('SIGTERM drains: what a worker held goes on in another at once, and the process ends with 0', async () => {
  await drained('bucket-worker', 'select 1 from sluice_store.shard_lease where holder = $1');
  await heals();
});

/** Stops one of the kind in order. Nobody has to wait for its leases to expire: it gave them back. */
async function drained(name: ServiceName, leasesSql: string): Promise<void> {
  const [process] = running.get(name) ?? [];
  if (!process) throw new Error(`there is no ${name} to drain`);
  expect(await process.terminate()).toBe(0);
  expect(await query(platform.storeUrl, leasesSql, [process.workerId])).toEqual([]);
  gone(process);
}

/** Writes as fast as the source takes it. */
async function writeUntil(source: Customer['source'], signal: AbortSignal): Promise<void> {
  for (let i = 0; !signal.aborted; i++) await source.writer.query(`update notes set body = 'turn ${i}' where id = 7`);
}

it('L3: no two processes ever wrote to one shard under one lease, nor under an older one', async () => {
  expect(await writerCount(platform.storeUrl)).toBeGreaterThan(2);
  expect(await mixedWriters(platform.storeUrl)).toEqual([]);
});

it('readiness: not while Redis is away, and again when it is back', async () => {
  const probes = (): Promise<(number | undefined)[]> =>
    Promise.all([...running.values()].flat().map((process) => process.readiness()));
  await platform.redis.kill();
  await expect.poll(probes, PROBE).toEqual(expect.arrayContaining([503]));
  const dependent = [...(running.get('replicator') ?? []), ...(running.get('bucket-worker') ?? [])];
  for (const process of dependent)
    await expect.poll(() => process.readiness(), { ...PROBE, timeout: 10_000 }).toBe(503);
  await platform.redis.restart();
  await heals();
  for (const process of dependent) await expect.poll(() => process.readiness(), PROBE).toBe(200);
});

it('L4: a project is divided among other shards and compared with its source through the API, while clients hold every change', async () => {
  const [first] = customers;
  if (!first) throw new Error('there is no customer');
  const base = `/v1/projects/${first.ref}`;
  await platform.call('POST', `${base}/shards`, { shards: 4 });
  await platform.deployed(first.ref);
  const shardsSql =
    'select count(*)::int as n from sluice_store.shard_lease where project = $1 and shard > 0 and holder is not null';
  const takenShards = async (): Promise<number> =>
    (await query<{ n: number }>(platform.storeUrl, shardsSql, [first.project]))[0]?.n ?? 0;
  await waitFor(async () => (await takenShards()) === 3, { what: 'the new shards to be taken', timeoutMs: 20_000 });
  await heals();
  await platform.call('POST', `${base}/audits`);
  await platform.deployed(first.ref);
  const { report } = await platform.call('GET', `${base}/provisioning`);
  expect(report).toMatchObject({ streams: [{ isEqual: true }, { name: 'my_notes', isEqual: true }] });
  await heals();
});

it('a project that is deleted is released by whoever is left, while another goes on', async () => {
  const [first, second] = customers;
  if (!first || !second) throw new Error('there are two customers');
  const slots = async (): Promise<number> => {
    const sql = 'select 1 from pg_replication_slots where database = current_database()';
    return (await first.source.writer.query(sql)).rows.length;
  };
  expect(await slots()).toBe(1);
  await first.remove();
  await waitFor(async () => (await slots()) === 0, { what: 'the slot to go', timeoutMs: 20_000 });
  await second.expectEqual(...clients.slice(1));
});

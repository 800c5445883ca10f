import { randomBytes } from 'node:crypto';
import { WRITES_TABLES_SQL } from '@sluice/sync-rules';
import { query, waitFor } from '@sluice/testkit';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import type { SyncClient } from '../stack/sync-client.ts';
import type { Customer } from './customer.ts';
import { Platform } from './platform.ts';
import type { ServiceProcess } from './service-process.ts';

const ROLE = `app_${randomBytes(5).toString('hex')}`;
const CLAIMS = "current_setting('request.jwt.claims')::jsonb";
/** `written` holds every insert that was ever made, so what is applied twice stands there twice. */
const TABLES = `
create role ${ROLE};
create table notes (id int primary key, owner text not null, body text not null);
alter table notes replica identity full;
alter table notes enable row level security;
create policy own on notes to ${ROLE} using (owner = ${CLAIMS} ->> 'sub') with check (owner = ${CLAIMS} ->> 'sub');
grant select, insert, update, delete on notes to ${ROLE};
create table written (id int not null);
create function note_written() returns trigger language plpgsql security definer as $$ begin
  insert into written values (new.id);
  return null;
end $$;
create trigger note_written after insert on notes for each row execute function note_written();
`;
const MY_NOTES = { name: 'my_notes', table: 'notes', query: 'SELECT * FROM notes WHERE owner = auth.user_id()' };
/** How long a fault may show: everything heals by itself within this time. */
const HEALS_WITHIN_MS = 10_000;

let platform: Platform;
let customer: Customer;
let writers: ServiceProcess[];
let ann: SyncClient;
let ids = 0;

beforeAll(async () => {
  platform = await Platform.start();
  await platform.add('control-plane');
  const [, , , ...added] = await Promise.all(
    (['replicator', 'bucket-worker', 'gateway', 'writer', 'writer'] as const).map((name) => platform.add(name)),
  );
  writers = added;
  const writes = { role: ROLE, tables: { notes: 'merge' } };
  customer = await platform.addCustomer('writes', WRITES_TABLES_SQL + TABLES, [MY_NOTES], { writes });
  ann = await customer.connect('ann');
  await ann.sdk.ready();
});
afterEach(({ task }) => {
  if (task.result?.state === 'fail') process.stderr.write(`${platform.log}\n`);
});
afterAll(async () => {
  const url = customer?.source.url;
  if (url) await query(url, `drop owned by ${ROLE} cascade`);
  await platform?.[Symbol.asyncDispose]();
});

const writeNote = (): Promise<unknown> =>
  ann.sdk.write({ insert: 'notes', values: { id: ++ids, owner: 'ann', body: `note ${ids}` } });

/** Writes one note after the other while the fault lasts. */
async function writingWhile(fault: () => Promise<void>): Promise<void> {
  const over = new AbortController();
  const writing = (async () => {
    while (!over.signal.aborted) {
      const before = ids;
      await writeNote();
      // A device that outpaces its source has nothing on its way but a queue.
      await waitFor(() => ann.sdk.status().writes.pending < 20 || over.signal.aborted, { what: 'the queue' });
      expect(ids).toBe(before + 1);
    }
  })();
  try {
    await fault();
  } finally {
    over.abort();
    await writing;
  }
}

/** Every note that was written is settled, and at the source once. */
async function settles(): Promise<void> {
  const begun = performance.now();
  await writeNote();
  await waitFor(() => ann.sdk.status().writes.pending === 0, { what: 'all to be settled', timeoutMs: 30_000 });
  expect(performance.now() - begun).toBeLessThan(HEALS_WITHIN_MS);
  expect(ann.sdk.status().writes).toMatchObject({ state: 'enabled', rejected: 0, lost: 0 });
  const written = await query<{ id: number }>(customer.source.url, 'select id from written order by id');
  expect(written.map(({ id }) => id)).toEqual(Array.from({ length: ids }, (_, i) => i + 1));
  await customer.expectEqual(ann);
}
const settledSoFar = (): number => ids - ann.sdk.status().writes.pending;

/** Waits until so many more are settled: the way is open and used. */
async function more(count: number): Promise<void> {
  const from = settledSoFar();
  await waitFor(() => settledSoFar() >= from + count, { what: `${count} more to be settled`, timeoutMs: 30_000 });
}
/** The one that a project's uploads go to. */
async function busyWriter(): Promise<ServiceProcess> {
  const answered = (): Promise<number[]> =>
    Promise.all(writers.map((writer) => writer.metric('sluice_writer_uploads_total')));
  const before = await answered();
  let found: ServiceProcess | undefined;
  await waitFor(
    async () => {
      const now = await answered();
      found = writers.find((_, i) => (now[i] ?? 0) > (before[i] ?? 0));
      return found;
    },
    { what: 'a writer that works' },
  );
  if (!found) throw new Error('no writer works');
  return found;
}

it('L15: what a client writes is at the source once and comes back, through five kinds of processes', async () => {
  await writeNote();
  await settles();
});

it('L15: kill -9 of the writer that works: another takes over by itself, and nothing is applied twice', async () => {
  await writingWhile(async () => {
    await more(5);
    const victim = await busyWriter();
    await victim.kill();
    writers = writers.filter((writer) => writer !== victim);
    await more(5);
  });
  await settles();
  writers.push(await platform.add('writer'));
});

it('L15: a writer that is frozen for longer than it may be and goes on finds its work done', async () => {
  await writingWhile(async () => {
    await more(5);
    const victim = await busyWriter();
    victim.signal('SIGSTOP');
    await more(5);
    victim.signal('SIGCONT');
    await more(5);
  });
  await settles();
});

it('SIGTERM drains: who stops finishes what it took, and ends with 0', async () => {
  await writingWhile(async () => {
    await more(5);
    const victim = await busyWriter();
    expect(await victim.terminate()).toBe(0);
    writers = writers.filter((writer) => writer !== victim);
    await more(5);
  });
  await settles();
});

it('a gateway or Redis that dies costs a moment', async () => {
  await writingWhile(async () => {
    await more(5);
    const [gateway] = platform.running('gateway');
    await platform.add('gateway');
    await gateway?.kill();
    await more(5);
    await platform.redis.kill();
    await platform.redis.restart();
    await more(5);
  });
  await settles();
});

it('without a writer what is written waits, with a code, and goes home when there is one again', async () => {
  for (const writer of writers.splice(0)) await writer.kill();
  await writeNote();
  await waitFor(() => ann.sdk.status().writes.code === 'WRITES_NOT_SERVED', { what: 'the code', timeoutMs: 30_000 });
  expect(ann.sdk.status().writes.state).toBe('unavailable');
  await writeNote();
  expect(ann.sdk.status().writes.pending).toBe(2);
  writers.push(await platform.add('writer'));
  await settles();
});

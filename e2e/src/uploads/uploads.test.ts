import { randomBytes, randomUUID } from 'node:crypto';
import { LIMITS } from '@sluice/protocol';
import { WRITES_TABLES_SQL } from '@sluice/sync-rules';
import { query, waitFor } from '@sluice/testkit';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Stack, startStack } from '../stack/stack.ts';
import type { Tenant } from '../stack/tenant.ts';
import { mutation, RawClient } from './raw-client.ts';

const ROLE = `app_${randomBytes(5).toString('hex')}`;
const CLAIMS = "current_setting('request.jwt.claims')::jsonb";
const TABLES_SQL = `
create role ${ROLE};
create table tasks (id int primary key, owner text not null, title text);
alter table tasks replica identity full;
alter table tasks enable row level security;
create policy own on tasks to ${ROLE} using (owner = ${CLAIMS} ->> 'sub') with check (owner = ${CLAIMS} ->> 'sub');
grant select, insert, update, delete on tasks to ${ROLE};
`;
const TASKS = { name: 'tasks', table: 'tasks', query: 'SELECT * FROM tasks WHERE owner = auth.user_id()' };

let stack: Stack;
let tenant: Tenant;
let reader: Tenant;
const open: RawClient[] = [];

beforeAll(async () => {
  stack = await startStack();
  tenant = await stack.addTenant({
    ref: 'writing',
    tablesSql: WRITES_TABLES_SQL + TABLES_SQL,
    streams: [TASKS],
    writes: { role: ROLE, tables: { tasks: 'merge' } },
  });
  reader = await stack.addTenant({
    ref: 'reading',
    tablesSql: 'create table tasks (id int primary key, owner text); alter table tasks replica identity full;',
    streams: [TASKS],
  });
});
afterEach(async () => {
  for (const client of open.splice(0)) await client[Symbol.asyncDispose]();
});
afterAll(async () => {
  const url = tenant?.source.url;
  if (url) await query(url, `drop owned by ${ROLE} cascade`);
  await stack?.[Symbol.asyncDispose]();
});

async function connect(sub: string, options: { clientId?: string; at?: Tenant } = {}): Promise<RawClient> {
  const { at = tenant, clientId } = options;
  const token = await at.token({ sub });
  const client = await RawClient.connect({
    port: stack.gatewayPort,
    project: at.ref,
    token,
    ...(clientId === undefined ? {} : { clientId }),
  });
  open.push(client);
  return client;
}
let lastId = 0;
const insert = (owner: string, id = ++lastId) => mutation('insert', 'tasks', id, { owner, title: `title ${id}` });

describe('the way home', () => {
  it('L15: what is written comes back by the stream, and its acknowledgement with it', async () => {
    const seen = await tenant.connect('ann');
    const client = await connect('ann');
    await client.writesAre('enabled');
    const ids: number[] = [];
    for (let seq = 1; seq <= 20; seq++) {
      ids.push(++lastId);
      client.upload(seq, insert('ann', lastId));
      const last = (await client.results(seq)).at(-1);
      expect(last).toEqual({ type: 'upload-result', seq, result: 'recorded', code: '', expected: seq + 1 });
    }
    await tenant.caughtUp(seen);
    expect(await seen.sdk.query('select id from tasks order by id')).toEqual(ids.map((id) => ({ id })));
    expect(await seen.sdk.query(`select project, client_id, seq from sluice_client`)).toEqual([
      { project: 'writing', client_id: client.clientId, seq: 20 },
    ]);
  });

  it('L15: a refusal arrives by the stream, and those of others do not (L13)', async () => {
    const [bea, cyd] = [await tenant.connect('bea'), await tenant.connect('cyd')];
    const client = await connect('bea');
    await client.writesAre('enabled');
    client.upload(1, insert('cyd'));
    client.upload(2, insert('bea'));
    expect((await client.results(2)).map(({ result }) => result)).toEqual(['recorded', 'recorded']);
    await tenant.caughtUp(bea, cyd);
    expect(await bea.sdk.query('select client_id, seq, code, reason from sluice_refusal')).toEqual([
      { client_id: client.clientId, seq: 1, code: 'WRITE_FORBIDDEN', reason: 'tasks, SQLSTATE 42501' },
    ]);
    expect(await bea.sdk.query('select owner from tasks')).toEqual([{ owner: 'bea' }]);
    for (const table of ['sluice_client', 'sluice_refusal', 'tasks'])
      expect(await cyd.sdk.query(`select * from ${table}`)).toEqual([]);
  });

  it('uploads of one session are recorded in the order they came, however fast', async () => {
    const client = await connect('dan');
    await client.writesAre('enabled');
    const count = LIMITS.uploadsUnansweredMax;
    for (let seq = 1; seq <= count; seq++) client.upload(seq, insert('dan'));
    const results = await client.results(count);
    expect(results.map(({ seq }) => seq)).toEqual(Array.from({ length: count }, (_, i) => i + 1));
    expect(results.every(({ result }) => result === 'recorded')).toBe(true);
  });

  it('the same uploads over several connections are written once', async () => {
    const clientId = randomUUID();
    const clients = await Promise.all([1, 2, 3].map(() => connect('eve', { clientId })));
    for (const client of clients) await client.writesAre('enabled');
    const uploads = Array.from({ length: 10 }, () => insert('eve'));
    for (const client of clients) for (const [i, upload] of uploads.entries()) client.upload(i + 1, upload);
    for (const client of clients)
      expect((await client.results(10)).map(({ seq, result }) => [seq, result])).toEqual(
        uploads.map((_, i) => [i + 1, 'recorded']),
      );
    const rows = await query(tenant.source.url, "select count(*)::int from tasks where owner = 'eve'");
    expect(rows).toEqual([{ count: 10 }]);
    expect(await query(tenant.source.url, "select * from sluice.refusal where subject = 'eve'")).toEqual([]);
  });

  it('behind a gap nothing is written, and all that wait are told where to go on', async () => {
    const client = await connect('fay');
    await client.writesAre('enabled');
    for (const seq of [2, 3, 4]) client.upload(seq, insert('fay'));
    expect((await client.results(3)).map(({ seq, result, expected }) => [seq, result, expected])).toEqual([
      [2, 'gap', 1],
      [3, 'gap', 1],
      [4, 'gap', 1],
    ]);
    expect(await query(tenant.source.url, "select * from tasks where owner = 'fay'")).toEqual([]);
  });
});

describe('who may not write is told so', () => {
  it('a project whose rules have no writes is read-only', async () => {
    const client = await connect('ann', { at: reader });
    expect(await client.writesAre('read-only')).toMatchObject({ code: 'WRITES_OFF' });
    client.upload(1, insert('ann'));
    expect((await client.results(1))[0]).toMatchObject({ result: 'retry', code: 'WRITES_OFF', expected: 1 });
  });

  it("L15: another user's client id ends the connection", async () => {
    const first = await connect('gus');
    await first.writesAre('enabled');
    first.upload(1, insert('gus'));
    await first.results(1);
    const thief = await connect('hal', { clientId: first.clientId });
    await thief.writesAre('enabled');
    thief.upload(2, insert('hal'));
    expect(await thief.closed).toEqual({ code: 4403, reason: 'WRITE_CLIENT_FOREIGN' });
    expect(await query(tenant.source.url, "select * from tasks where owner = 'hal'")).toEqual([]);
  });

  it('a client id that is no UUID cannot upload', async () => {
    const client = await connect('ida', { clientId: "'; drop table tasks" });
    await client.writesAre('enabled');
    client.upload(1, insert('ida'));
    expect(await client.closed).toEqual({ code: 1002, reason: 'PROTOCOL_CLIENT_ID' });
  });

  it('what is no payload ends the connection, and the next upload is taken', async () => {
    const client = await connect('jon');
    await client.writesAre('enabled');
    client.send({ type: 'upload', seq: 1, refusalsKept: 0, mutations: Uint8Array.of(9, 9, 9) });
    expect(await client.closed).toMatchObject({ code: 1002, reason: 'PROTOCOL_MALFORMED' });
    const again = await connect('jon', { clientId: client.clientId });
    await again.writesAre('enabled');
    again.upload(1, insert('jon'));
    expect((await again.results(1))[0]).toMatchObject({ result: 'recorded' });
  });

  it('a role that is made unsafe stops writes, and clients are told of both the end and the beginning', async () => {
    const client = await connect('kim');
    await client.writesAre('enabled');
    const { source } = tenant;
    const killSessions = `select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and application_name = 'sluice' and backend_type = 'client backend'
      and query not like '%START_REPLICATION%' and state = 'idle' and query ~ '(COMMIT|ROLLBACK)$'`;
    await query(source.url, `alter role ${ROLE} bypassrls`);
    await query(source.url, killSessions);
    client.upload(1, insert('kim'));
    await client.writesAre('unavailable');
    expect(client.all('writes').at(-1)).toMatchObject({ code: 'WRITES_ROLE_UNSAFE' });
    await query(source.url, `alter role ${ROLE} nobypassrls`);
    await waitFor(() => client.all('writes').at(-1)?.state === 'enabled', {
      what: 'writes to be taken again',
    });
    client.upload(1, insert('kim'));
    expect((await client.results(2)).at(-1)).toMatchObject({ seq: 1, result: 'recorded' });
  });
});

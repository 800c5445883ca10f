import { seededRandom, type TcpProxy, tcpProxy } from '@sluice/testkit';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Stack, startStack } from '../stack/stack.ts';
import { connectClient, type SyncClient } from '../stack/sync-client.ts';
import type { Tenant } from '../stack/tenant.ts';

const USERS = 8;
const DEVICES_PER_USER = 4;
const ROWS_PER_USER = 400;
const ROUNDS = 6;
/** What a client may be sent when it comes back and nothing has changed: greeting, schema, sums. Rows are 300 bytes each. */
const RESUME_BYTES_MAX = 4096;

let stack: Stack;
let tenant: Tenant;
let line: TcpProxy;
const clients: SyncClient[] = [];

beforeAll(async () => {
  stack = await startStack();
  tenant = await stack.addTenant({
    ref: 'crowd',
    tablesSql: `
      create table notes (id int primary key, owner text not null, body text not null);
      alter table notes replica identity full;
      insert into notes select i, 'user-' || i % ${USERS}, repeat(md5(i::text), 8)
      from generate_series(1, ${USERS * ROWS_PER_USER}) i;`,
    streams: [{ name: 'notes', table: 'notes', query: 'SELECT * FROM notes WHERE owner = auth.user_id()' }],
  });
  line = await tcpProxy({ port: stack.gatewayPort });
  for (let i = 0; i < USERS * DEVICES_PER_USER; i++) {
    const claims = { sub: `user-${i % USERS}` };
    clients.push(
      await connectClient({
        gatewayPort: line.port,
        projectRef: tenant.ref,
        claims,
        token: () => tenant.token(claims),
        isTapped: false,
      }),
    );
  }
});
afterAll(async () => {
  for (const client of clients) await client[Symbol.asyncDispose]();
  await line?.[Symbol.asyncDispose]();
  await stack?.[Symbol.asyncDispose]();
});

it('L12: whenever all lines are cut at once, every device ends with what SQL gives its user', async () => {
  const random = seededRandom();
  await tenant.caughtUp(...clients);
  for (let round = 0; round < ROUNDS; round++) {
    const first = random.int(1, USERS * ROWS_PER_USER - 200);
    const owner = `user-${random.int(0, USERS - 1)}`;
    const before = line.bytes.toClient;
    await tenant.source.commit(
      random.pick([
        `update notes set body = md5(body || ${round}) where id between ${first} and ${first + 200}`,
        `update notes set owner = '${owner}' where id between ${first} and ${first + 200}`,
        `delete from notes where id between ${first} and ${first + 20}`,
        `insert into notes select ${100_000 * (round + 1)} + i, '${owner}', md5(i::text) from generate_series(1, 500) i`,
      ]),
    );
    // In the middle of what the commit makes the gateway send, or before any of it, or after.
    const bytes = before + random.int(0, 60_000);
    for (let turn = 0; turn < 50 && line.bytes.toClient < bytes; turn++)
      await new Promise((resolve) => setImmediate(resolve));
    line.cut();
  }
  await tenant.expectEqual(...clients);
}, 40_000);

it('clients that come back to what they hold are sent none of it again', async () => {
  await tenant.caughtUp(...clients);
  const before = line.bytes.toClient;
  line.cut();
  await tenant.caughtUp(...clients);
  expect((line.bytes.toClient - before) / clients.length).toBeLessThan(RESUME_BYTES_MAX);
}, 40_000);

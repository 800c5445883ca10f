import { sourceConnectionFromUrl } from '@sluice/replicator';
import { freshCluster, query, tcpProxy, waitFor } from '@sluice/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PrefixCheck } from '../oracle/prefix-check.ts';
import { type Stack, startStack } from '../stack/stack.ts';
import type { Tenant } from '../stack/tenant.ts';

const TABLES_SQL = `
create table notes (id int primary key, owner text not null, body text not null);
alter table notes alter column body set storage external;
alter table notes replica identity full;
insert into notes select i, (array['ana', 'ben'])[1 + i % 2], 'note ' || i from generate_series(1, 200) i;
`;
const STREAMS = [{ name: 'notes', table: 'notes', query: 'SELECT * FROM notes WHERE owner = auth.user_id()' }];

let stack: Stack;
/** A tenant that all of this must not disturb. */
let healthy: Tenant;

beforeAll(async () => {
  stack = await startStack();
  healthy = await stack.addTenant({ ref: 'healthy', tablesSql: TABLES_SQL, streams: STREAMS });
});
afterAll(async () => {
  const client = await healthy?.connect('ana');
  if (client) await healthy.expectEqual(client);
  await stack?.[Symbol.asyncDispose]();
});

function withUrl(url: string, change: (url: URL) => void): ReturnType<typeof sourceConnectionFromUrl> {
  const changed = new URL(url);
  change(changed);
  return sourceConnectionFromUrl(changed.href);
}

describe('a source that cannot be followed is refused with its code', () => {
  it('wrong password', async () => {
    const connectAs = (url: string) => withUrl(url, (to) => (to.password = 'wrong'));
    const adding = stack.addTenant({ ref: 'password', tablesSql: TABLES_SQL, streams: STREAMS, connectAs });
    await expect(adding).rejects.toMatchObject({ code: 'SOURCE_PASSWORD' });
  });

  it('nobody at the address', async () => {
    await using proxy = await tcpProxy({ port: 1 });
    proxy.refuse();
    const connectAs = (url: string) => withUrl(url, (to) => (to.port = String(proxy.port)));
    const adding = stack.addTenant({ ref: 'unreachable', tablesSql: TABLES_SQL, streams: STREAMS, connectAs });
    await expect(adding).rejects.toMatchObject({ code: 'SOURCE_UNREACHABLE' });
  });

  it('wal_level replica', async () => {
    await using cluster = await freshCluster({ wal_level: 'replica' });
    const adding = stack.addTenant({ ref: 'wal-level', tablesSql: TABLES_SQL, streams: STREAMS, cluster });
    await expect(adding).rejects.toMatchObject({ code: 'SOURCE_WAL_LEVEL' });
    await stack.removeTenant(stack.tenant('wal-level'));
  });

  it.each([
    [
      'without REPLICATION',
      'login',
      'grant select on all tables in schema public to role_name',
      'SOURCE_ROLE_REPLICATION',
    ],
    ['without SELECT', 'login replication', 'select 1', 'SOURCE_SELECT_DENIED'],
  ])('a role %s', async (_, attributes, grants, code) => {
    const role = `role_${code.toLowerCase()}_${process.pid}`;
    const tablesSql = `${TABLES_SQL} create role ${role} ${attributes} password 'secret'; ${grants.replace('role_name', role)};`;
    const connectAs = (url: string) =>
      withUrl(url, (to) => {
        to.username = role;
        to.password = 'secret';
      });
    const adding = stack.addTenant({ ref: role, tablesSql, streams: STREAMS, connectAs });
    await expect(adding).rejects.toMatchObject({ code });
    const tenant = stack.tenant(role);
    await query(tenant.source.url, `drop owned by ${role}; drop role ${role}`);
    await stack.removeTenant(tenant);
  });

  it('a table without replica identity, before it is published: the owner can still update it', async () => {
    const tablesSql = TABLES_SQL.replace('replica identity full;', 'replica identity nothing;');
    const adding = stack.addTenant({ ref: 'identity', tablesSql, streams: STREAMS });
    await expect(adding).rejects.toMatchObject({ code: 'SOURCE_REPLICA_IDENTITY' });
    const { writer } = stack.tenant('identity').source;
    await writer.query("update notes set body = 'written' where id = 1");
    expect((await writer.query('select * from pg_publication')).rows).toEqual([]);
    expect((await writer.query('select 1 from pg_replication_slots where database = current_database()')).rows).toEqual(
      [],
    );
  });
});

describe('a source that fails while it is followed', () => {
  it('unreachable: clients keep their rows and are told the code; what was missed arrives when it is back', async () => {
    const port = Number(new URL(healthy.source.url).port);
    await using proxy = await tcpProxy({ port });
    const connectAs = (url: string) => withUrl(url, (to) => (to.port = String(proxy.port)));
    const tenant = await stack.addTenant({ ref: 'outage', tablesSql: TABLES_SQL, streams: STREAMS, connectAs });
    const client = await tenant.connect('ana');
    await tenant.expectEqual(client);
    proxy.refuse();
    const { rows } = await tenant.source.writer.query(
      "update notes set body = 'meanwhile' where id % 3 = 0 returning id",
    );
    await waitFor(() => client.sdk.status().source?.state === 'stalled', { what: 'the client to be told' });
    expect(client.sdk.status().source?.code).toBe('SOURCE_UNREACHABLE');
    expect(await client.sdk.query("select count(*) n from notes where body <> 'meanwhile'")).toEqual([{ n: 100 }]);
    proxy.heal();
    await tenant.expectEqual(client);
    expect(rows.length).toBeGreaterThan(0);
    await waitFor(() => client.sdk.status().source?.state === 'live', { what: 'the source to be live again' });
    await stack.removeTenant(tenant);
  });

  it('L2, L12: a slot that somebody dropped: everything is copied in a new epoch, to which clients change at once', async () => {
    const tenant = await stack.addTenant({ ref: 'slot', tablesSql: TABLES_SQL, streams: STREAMS });
    const users = [{ sub: 'ana' }, { sub: 'ben' }];
    const check = await PrefixCheck.begin(tenant, users);
    const clients = await Promise.all(users.map((claims) => tenant.connect(claims, { tapped: true })));
    for (const client of clients) check.watch(client);
    await tenant.expectEqual(...clients);
    const epoch = clients[0]?.sdk.status().checkpoint?.epoch ?? 0;
    const slots = 'select slot_name, active_pid from pg_replication_slots where database = current_database()';
    await waitFor(
      async () => {
        const { rows } = await tenant.source.writer.query(slots);
        await tenant.source.writer.query('select pg_terminate_backend($1)', [rows[0]?.active_pid ?? 0]);
        await tenant.source.writer.query('select pg_drop_replication_slot($1)', [rows[0]?.slot_name]);
        return true;
      },
      { what: 'the slot to be dropped between two connections of its holder', intervalMs: 1 },
    );
    await check.commit(
      "update notes set owner = 'ben' where id = 1",
      "update notes set body = 'unseen' where id % 7 = 0",
    );
    await check.commit('delete from notes where id % 11 = 0');
    await tenant.expectEqual(...clients);
    expect(check.problems()).toEqual([]);
    for (const client of clients) {
      expect(client.sdk.status().checkpoint?.epoch).toBeGreaterThan(epoch);
      const resets = client.tap.messages().filter((message) => message.type === 'checkpoint' && message.reset);
      expect(resets).toHaveLength(1);
    }
    await stack.removeTenant(tenant);
  });

  it('a row over the size limit is in no bucket and reported; the stream goes on, and the row is back when it fits', async () => {
    const tenant = await stack.addTenant({
      ref: 'large',
      tablesSql: `${TABLES_SQL} insert into notes values (900, 'ana', repeat('c', 2000000));`,
      streams: STREAMS,
    });
    const client = await tenant.connect('ana');
    const ids = async (): Promise<unknown> => client.sdk.query('select id from notes where id >= 900 order by id');
    await tenant.caughtUp(client);
    expect(await ids()).toEqual([]);
    await tenant.source.commit(
      "insert into notes values (901, 'ana', repeat('s', 2000000)), (902, 'ana', 'small')",
      "update notes set body = 'written beside it' where id = 2",
    );
    await tenant.caughtUp(client);
    expect(await ids()).toEqual([{ id: 902 }]);
    await tenant.source.commit("update notes set body = repeat('g', 2000000) where id = 902");
    await tenant.caughtUp(client);
    expect(await ids()).toEqual([]);
    const issues = await stack.dataPlane.store.readIssues(tenant.project);
    expect(issues).toEqual([expect.objectContaining({ code: 'ROW_TOO_LARGE', table: 'public.notes' })]);
    await tenant.source.commit("update notes set body = 'fits' where id >= 900");
    await tenant.expectEqual(client);
    expect(await ids()).toEqual([{ id: 900 }, { id: 901 }, { id: 902 }]);
    await stack.removeTenant(tenant);
  });
});

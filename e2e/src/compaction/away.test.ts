import { inflateRawSync } from 'node:zlib';
import { parseLsn } from '@sluice/domain';
import { query, waitFor } from '@sluice/testkit';
import { afterEach, expect, it } from 'vitest';
import { type Stack, type StackOptions, startStack } from '../stack/stack.ts';
import type { SyncClient } from '../stack/sync-client.ts';
import type { Tenant } from '../stack/tenant.ts';

const TABLES_SQL = `
create table notes (id integer primary key, owner text not null, body text not null);
alter table notes replica identity full;
insert into notes select i, case i % 2 when 0 then 'ana' else 'ben' end, 'first ' || i from generate_series(1, 40) i;
`;
const STREAMS = [{ name: 'notes', query: 'SELECT * FROM notes WHERE owner = auth.user_id()', table: 'notes' }];
const DAY_MS = 86_400_000;

let stack: Stack | undefined;
afterEach(async () => {
  await stack?.[Symbol.asyncDispose]();
  stack = undefined;
});

async function compactedTenant(
  housekeeping: NonNullable<StackOptions['housekeeping']>,
): Promise<{ stack: Stack; tenant: Tenant }> {
  stack = await startStack({ heartbeatMs: 100, housekeeping: { roundMs: 50, share: 1, ...housekeeping } });
  const tenant = await stack.addTenant({ ref: 'notes', tablesSql: TABLES_SQL, streams: STREAMS });
  return { stack, tenant };
}

/** Every byte of the store's tables that hold rows, as text. */
async function storedText(url: string): Promise<string> {
  const rows = await query<{ bytes: Buffer; is_deflated: boolean }>(
    url,
    `select payload as bytes, false as is_deflated from sluice_store.chunk
    union all select body, format = 1 from sluice_store.pack
    union all select row_key || value, false from sluice_store.membership`,
  );
  return rows.map((row) => (row.is_deflated ? inflateRawSync(row.bytes) : row.bytes).toString('latin1')).join('\n');
}
async function floorOf(url: string, column: 'read_lsn' | 'resume_lsn'): Promise<bigint> {
  const [row] = await query<{ lsn: string }>(url, `select max(${column}) as lsn from sluice_store.floor`);
  return BigInt(row?.lsn ?? 0);
}

const checkpointOf = (client: SyncClient): bigint => parseLsn(client.sdk.status().checkpoint?.lsn ?? '');

it('a client that was away while its bucket was folded gets the changes since, and nothing twice', async () => {
  const { stack, tenant } = await compactedTenant({ readableMs: 100, retentionMs: DAY_MS });
  const ana = await tenant.connect('ana');
  await tenant.expectEqual(ana);
  ana.sdk.disconnect();
  const away = checkpointOf(ana);
  for (let i = 0; i < 30; i++) await tenant.source.commit(`update notes set body = 'version ${i}' where id <= 10`);
  await tenant.source.commit('delete from notes where id in (2, 4)', "insert into notes values (100, 'ana', 'new')");
  await tenant.source.commit("update notes set body = 'last' where id = 6");
  await waitFor(
    async () => {
      const folded = !(await storedText(stack.storeUrl)).includes('version 12');
      return folded && (await floorOf(stack.storeUrl, 'read_lsn')) > away;
    },
    { what: 'superseded versions to be gone', timeoutMs: 20_000 },
  );
  expect(await floorOf(stack.storeUrl, 'resume_lsn')).toBeLessThan(away);
  ana.sdk.connect();
  await tenant.expectEqual(ana);
});

it('what was changed or deleted is gone from the store after the retention, and who was away longer loads anew', async () => {
  const { stack, tenant } = await compactedTenant({ readableMs: 100, retentionMs: 1500 });
  const ana = await tenant.connect('ana');
  await tenant.expectEqual(ana);
  ana.sdk.disconnect();
  const away = checkpointOf(ana);
  await tenant.source.commit("update notes set body = 'to be erased' where id in (2, 4)");
  await tenant.source.commit('delete from notes where id = 2', "update notes set body = 'kept' where id = 4");
  expect(await storedText(stack.storeUrl)).toContain('to be erased');
  await waitFor(
    async () => {
      const isErased = !(await storedText(stack.storeUrl)).includes('to be erased');
      return isErased && (await floorOf(stack.storeUrl, 'resume_lsn')) > away;
    },
    { what: 'erased values to be gone', timeoutMs: 20_000 },
  );
  expect(await storedText(stack.storeUrl)).toContain('kept');
  ana.sdk.connect();
  await tenant.expectEqual(ana);
  const ben = await tenant.connect('ben');
  await tenant.expectEqual(ben);
});

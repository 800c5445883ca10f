import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AIRPORT_STREAMS, AIRPORT_TABLES_SQL, CREW } from '../convergence/airport.fixture.ts';
import { type Stack, startStack } from '../stack/stack.ts';
import type { Tenant } from '../stack/tenant.ts';
import { wireTap } from '../wire/wire-tap.ts';
import { type BrowserStage, openBrowser } from './browser-client.ts';

let stack: Stack;
let tenant: Tenant;
let browser: BrowserStage;

beforeAll(async () => {
  [stack, browser] = await Promise.all([startStack(), openBrowser()]);
  tenant = await stack.addTenant({ ref: 'airports', tablesSql: AIRPORT_TABLES_SQL, streams: AIRPORT_STREAMS });
});
afterAll(async () => {
  await browser?.[Symbol.asyncDispose]();
  await stack?.[Symbol.asyncDispose]();
});

describe('a page in Chromium, its rows on OPFS', () => {
  it.each(CREW)('L12: the first sync of %s equals SQL', async (sub) => {
    await using device = await browser.newDevice();
    await device.open({ tenant, claims: { sub }, gatewayPort: stack.gatewayPort });
    await device.expectEqual(tenant, { sub });
    expect(await device.status()).toMatchObject({ connection: 'connected', storage: 'opfs' });
    expect(device.complaints).toEqual([]);
  });

  it('shows changes live: written, moved, deleted, truncated, granted and revoked rows', async () => {
    const claims = { sub: 'ana' };
    await using device = await browser.newDevice();
    await device.open({ tenant, claims, gatewayPort: stack.gatewayPort });
    await device.expectEqual(tenant, claims);
    const changes = [
      "insert into flights values (5001, 'ORD', 'ATL', 'B1', 'new', null)",
      "update flights set origin = 'JFK', destination = 'JFK' where id = 5001",
      "update flights set captain = 'ana' where id % 11 = 0",
      'update flights set id = id + 100000 where id % 13 = 0',
      'delete from flights where id % 5 = 0',
      "insert into assignments values (50, 'ana', 'SFO', 'gate')",
      "delete from assignments where crew_id = 'ana' and airport = 'ORD'",
      'truncate flights',
      "insert into flights select i, 'ATL', 'SFO', 'T', repeat('x', i), null from generate_series(1, 500) i",
    ];
    for (const change of changes) {
      await tenant.source.commit(change);
      await device.expectEqual(tenant, claims);
    }
  });

  it('a reload goes on from what OPFS holds: no bucket is sent again, and what happened meanwhile arrives', async () => {
    const claims = { sub: 'ben' };
    await tenant.source.commit(
      "insert into flights select i, 'ORD', 'SFO', 'G' || i, md5(i::text), null from generate_series(200001, 203000) i",
    );
    await using tap = await wireTap(stack.gatewayPort);
    await using device = await browser.newDevice();
    await device.open({ tenant, claims, gatewayPort: tap.port });
    await device.expectEqual(tenant, claims);
    const firstBytes = tap.bytesToClient;
    const firstReplaced = tap.messages().flatMap((message) => (message.type === 'checkpoint' ? message.replace : []));
    expect(firstReplaced.length).toBeGreaterThan(2);

    await device.load();
    await tenant.source.commit(
      "update flights set gate = 'R1' where id = 200001",
      "insert into airports values ('NEW', 'new')",
    );
    await device.open({ tenant, claims, gatewayPort: tap.port });
    await device.expectEqual(tenant, claims);
    const replaced = tap.messages().flatMap((message) => (message.type === 'checkpoint' ? message.replace : []));
    expect(replaced).toHaveLength(firstReplaced.length);
    expect(tap.bytesToClient - firstBytes).toBeLessThan(firstBytes / 20);
  });

  it('reads without a server, after a reload too, and catches up when the server is back', async () => {
    const claims = { sub: 'cleo' };
    await using tap = await wireTap(stack.gatewayPort);
    await using device = await browser.newDevice();
    await device.open({ tenant, claims, gatewayPort: tap.port });
    await device.expectEqual(tenant, claims);
    const before = await device.query('select * from airports order by iata');
    expect(before.length).toBeGreaterThan(4);
    tap.refuse();
    await device.load();
    await device.open({ tenant, claims, gatewayPort: tap.port });
    await device.ready();
    expect(await device.query('select * from airports order by iata')).toEqual(before);
    await tenant.source.commit("update airports set name = 'while away' where iata = 'LAX'");
    tap.heal();
    await device.expectEqual(tenant, claims);
  });
});

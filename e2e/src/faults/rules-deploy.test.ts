import { afterAll, beforeAll, expect, it } from 'vitest';
import { AIRPORT_STREAMS, AIRPORT_TABLES_SQL } from '../convergence/airport.fixture.ts';
import { PrefixCheck } from '../oracle/prefix-check.ts';
import { type Stack, startStack } from '../stack/stack.ts';
import type { SyncClient } from '../stack/sync-client.ts';
import type { Tenant } from '../stack/tenant.ts';

let stack: Stack;
let tenant: Tenant;
let clients: readonly SyncClient[];

beforeAll(async () => {
  stack = await startStack();
  tenant = await stack.addTenant({ ref: 'deploy', tablesSql: AIRPORT_TABLES_SQL, streams: AIRPORT_STREAMS });
  clients = await Promise.all(['ana', 'ben'].map((sub) => tenant.connect(sub, { tapped: true })));
  await tenant.expectEqual(...clients);
});
afterAll(() => stack?.[Symbol.asyncDispose]());

/** Streams whose buckets were sent as a whole, since message `from`. */
function replaced(client: SyncClient, from: number): number[] {
  const messages = client.tap.messages().slice(from);
  return messages.flatMap((message) =>
    message.type === 'checkpoint' ? message.replace.map(({ stream }) => stream) : [],
  );
}

it('L11: a deployment shows new streams and drops gone ones at one checkpoint, and leaves the others alone', async () => {
  const sent = clients.map(({ tap }) => tap.messages().length);
  const tables = clients.map((client) => {
    const seen: string[] = [];
    const watched = [...tenant.streams, { name: 'all_flights', table: 'all_flights', query: '' }];
    client.sample(
      () => watched,
      (state) => {
        const line = [...state]
          .map(([table, { rows }]) => `${table}:${rows.length > 0}`)
          .toSorted()
          .join(' ');
        if (seen.at(-1) !== line) seen.push(line);
      },
    );
    return seen;
  });
  const kept = AIRPORT_STREAMS.filter(({ name }) => name !== 'accounts' && name !== 'flights_as_captain');
  const writing = writeMeanwhile();
  await tenant.deploy([
    ...kept,
    { name: 'all_flights', table: 'all_flights', query: "SELECT id, gate FROM flights WHERE origin = 'JFK'" },
    { name: 'departures', table: 'flights', query: "SELECT * FROM flights WHERE origin = 'SFO'" },
  ]);
  await writing.stop();
  await tenant.expectEqual(...clients);

  const streams = await stack.dataPlane.store.readStreams(tenant.project);
  const added = streams
    .filter(({ name }) => name === 'all_flights' || name === 'departures')
    .map(({ stream }) => stream);
  clients.forEach((client, i) => {
    // One bucket each: neither stream has parameters.
    expect(new Set(replaced(client, sent[i] ?? 0))).toEqual(new Set(added));
    expect(tables[i]?.at(0)).not.toContain('all_flights');
    expect(tables[i]?.at(-1)).toContain('all_flights:true');
    expect(tables[i]?.filter((line) => line.includes('all_flights') && line.includes('accounts'))).toEqual([]);
    expect(tables[i]?.filter((line) => !line.includes('all_flights') && !line.includes('accounts'))).toEqual([]);
  });
});

it('L11: rules that do not fit are refused, and what is deployed serves on', async () => {
  const wrong = { name: 'wrong', table: 'wrong', query: 'SELECT * FROM no_such_table' };
  await expect(tenant.deploy([wrong])).rejects.toThrow('RULES_TABLE_UNKNOWN');
  await tenant.source.writer.query(
    'create table bare (id int primary key); alter table bare replica identity nothing; insert into bare values (1)',
  );
  await expect(tenant.deploy([{ name: 'bare', table: 'bare', query: 'SELECT * FROM bare' }])).rejects.toMatchObject({
    code: 'SOURCE_REPLICA_IDENTITY',
  });
  // Had it been published, this would fail.
  await tenant.source.writer.query('update bare set id = 2');
  await tenant.source.commit("update airports set name = 'still here' where iata = 'ORD'");
  await tenant.expectEqual(...clients);
});

it('L12: deployments one after the other under writes never show a mixed state', async () => {
  const users = clients.map(({ claims }) => claims);
  const kept = AIRPORT_STREAMS.filter(({ table }) => table === 'flights' || table === 'airports');
  await tenant.deploy(kept);
  await tenant.expectEqual(...clients);
  const check = await PrefixCheck.begin(tenant, users);
  const unwatch = clients.map((client) => check.watch(client));
  for (let round = 0; round < 4; round++) {
    const extra = {
      name: `extra_${round}`,
      table: `extra_${round}`,
      query: "SELECT * FROM assignments WHERE duty = 'gate'",
    };
    let isDeployed = false;
    // The kept tables are compared throughout; the extra one comes and goes beside them.
    const deployed = tenant.deploy([...kept, extra]).then(() => {
      isDeployed = true;
    });
    for (let i = 0; !isDeployed; i++)
      await check.commit(
        `update flights set origin = case when origin = 'ORD' then 'ATL' else 'ORD' end where id % 20 = ${i % 20}`,
        `update assignments set airport = case when airport = 'ORD' then 'ATL' else 'ORD' end where id = ${1 + (i % 3)}`,
      );
    await deployed;
    await tenant.expectEqual(...clients);
  }
  for (const stop of unwatch) stop();
  expect(check.problems().filter((line) => !line.includes('lacks the table'))).toEqual([]);
  expect(check.judged).toBeGreaterThan(8);
});

/** Small transactions, one after the other, until it is stopped. */
function writeMeanwhile(): { stop(): Promise<void> } {
  let isOn = true;
  const writing = (async () => {
    for (let i = 0; isOn; i++)
      await tenant.source.commit(`update flights set gate = 'W${i}' where id % 50 = ${i % 50}`);
  })();
  return {
    stop: () => {
      isOn = false;
      return writing;
    },
  };
}

import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PrefixCheck } from '../oracle/prefix-check.ts';
import { type Stack, startStack } from '../stack/stack.ts';
import type { SyncClient } from '../stack/sync-client.ts';
import type { Tenant } from '../stack/tenant.ts';
import { AIRPORT_STREAMS, AIRPORT_TABLES_SQL, CREW } from './airport.fixture.ts';

let stack: Stack;
let tenant: Tenant;
let clients: readonly SyncClient[];
let check: PrefixCheck;

beforeAll(async () => {
  stack = await startStack();
  tenant = await stack.addTenant({ ref: 'airports', tablesSql: AIRPORT_TABLES_SQL, streams: AIRPORT_STREAMS });
  check = await PrefixCheck.begin(
    tenant,
    CREW.map((sub) => ({ sub })),
  );
  clients = await Promise.all(CREW.map((sub) => tenant.connect(sub)));
  for (const client of clients) check.watch(client);
});
afterAll(() => stack?.[Symbol.asyncDispose]());

/** Commits, and expects that every user comes to what SQL gives, having shown no other state on the way. */
async function expectArrival(...statements: readonly string[]): Promise<void> {
  await check.commit(...statements);
  await tenant.expectEqual(...clients);
  expect(check.problems()).toEqual([]);
}

describe('rows on their way from Postgres to every user', () => {
  it('L12: the first sync gives each user what the rules give in SQL', async () => {
    await tenant.expectEqual(...clients);
    const held = await Promise.all(
      clients.map(({ sdk }) => sdk.query<{ n: number }>('select count(*) n from flights')),
    );
    expect(held.map(([row]) => row?.n)).toEqual([expect.any(Number), expect.any(Number), expect.any(Number), 0]);
    expect(Math.min(...held.slice(0, 3).map(([row]) => row?.n ?? 0))).toBeGreaterThan(100);
    expect(check.problems()).toEqual([]);
  });

  it('an INSERT reaches those whom the rules name, once, however many buckets hold it', async () => {
    await expectArrival(
      "insert into flights values (2001, 'ORD', 'ATL', 'B1', null, 'ana'), (2002, 'JFK', 'JFK', 'B2', 'nobody', null)",
    );
  });

  it('an UPDATE changes the row where it is held, its unchanged TOASTed value kept', async () => {
    await expectArrival("update flights set remark = repeat('long remark ', 5000) where id = 2001");
    await expectArrival("update flights set gate = 'C9' where id = 2001");
    await expectArrival('update flights set gate = gate where id < 100');
  });

  it('an UPDATE moves a row from one user to another, and from one airport to another', async () => {
    await expectArrival("update flights set captain = 'dan' where captain = 'ana' and id % 2 = 0");
    await expectArrival("update flights set origin = 'LAX' where origin = 'ORD' and id % 3 = 0");
    await expectArrival('update flights set origin = destination, destination = origin where id < 500');
    await expectArrival(
      "update flights set origin = 'JFK', destination = 'JFK', captain = null where id between 1 and 50",
    );
  });

  it('L6: a changed key removes the row under its old key, also when keys are swapped', async () => {
    await expectArrival('update flights set id = id + 10000 where id % 10 = 1');
    await expectArrival(
      'update flights set id = -1 where id = 2',
      'update flights set id = 2 where id = 3',
      'update flights set id = 3 where id = -1',
    );
    await expectArrival("update flights set id = 20001, origin = 'ORD', captain = 'ben' where id = 4");
  });

  it('a DELETE removes the row everywhere, also one that comes back in the same transaction', async () => {
    await expectArrival('delete from flights where id % 5 = 0');
    await expectArrival(
      'delete from flights where id = 7',
      "insert into flights values (7, 'ORD', 'SFO', 'Z1', 'back', 'cleo')",
      "update flights set gate = 'Z2' where id = 7",
    );
    await expectArrival(
      "insert into flights values (3001, 'ORD', 'ATL', 'B1', 'for a moment', 'ana')",
      'delete from flights where id = 3001',
    );
  });

  it('what a transaction rolls back to a savepoint never arrives', async () => {
    await expectArrival(
      "update flights set gate = 'S1' where id = 7",
      'savepoint s',
      'delete from flights',
      "insert into flights values (3002, 'ORD', 'ATL', 'B1', 'never', 'ana')",
      'rollback to s',
      "update flights set remark = 'kept' where id = 8",
    );
  });

  it('L13: a grant brings the rows, a revocation takes them, at the checkpoint of the membership row', async () => {
    await expectArrival("insert into assignments values (10, 'dan', 'SFO', 'gate')");
    await expectArrival("update assignments set airport = 'LAX' where id = 10");
    await expectArrival("update assignments set duty = 'standby' where id = 1");
    await expectArrival("update assignments set duty = 'gate' where duty = 'standby'");
    await expectArrival("update assignments set crew_id = 'cleo' where id = 3");
    await expectArrival("insert into assignments values (11, 'ana', 'ATL', 'second reason')");
    await expectArrival('delete from assignments where id = 2');
    await expectArrival('delete from assignments where id = 11');
  });

  it('L13: rows and the right to see them change in one transaction', async () => {
    await expectArrival(
      "update flights set origin = 'JFK' where origin = 'LAX'",
      "insert into assignments values (12, 'ben', 'JFK', 'gate')",
      "delete from assignments where crew_id = 'cleo'",
      "insert into flights values (3003, 'JFK', 'ORD', 'N1', 'new', 'cleo')",
    );
  });

  it('TRUNCATE empties the table, and rows written after it in the same transaction stay', async () => {
    await expectArrival(
      'truncate flights',
      "insert into flights select i, 'JFK', 'SFO', 'T', null, 'ana' from generate_series(1, 50) i",
    );
    await expectArrival('truncate assignments');
    await expectArrival("insert into assignments values (1, 'ana', 'SFO', 'gate'), (2, 'dan', 'JFK', 'gate')");
    await expectArrival(
      "insert into flights values (99, 'JFK', 'JFK', 'X', null, null)",
      'truncate flights, assignments',
    );
    await expectArrival(
      "insert into assignments values (1, 'ana', 'ORD', 'gate'), (2, 'ben', 'ATL', 'gate')",
      "insert into flights select i, 'ORD', 'ATL', 'T' || i, null, null from generate_series(1, 100) i",
    );
  });

  it('L12: money that moves between two users is never seen in both pockets or in none', async () => {
    const sums = new Set<number>();
    for (const { sdk } of clients)
      sdk.live<{ total: number }>('select sum(balance) total from accounts', [], ([row]) => sums.add(row?.total ?? -1));
    for (let i = 0; i < 200; i++) {
      const from = 1 + (i % 30);
      const to = 1 + ((i * 7 + 3) % 30);
      await tenant.source.commit(
        `update accounts set balance = balance - ${i} where id = ${from}`,
        `update accounts set balance = balance + ${i} where id = ${to}`,
      );
    }
    await tenant.caughtUp(...clients);
    expect([...sums]).toEqual([3000]);
  });

  it('L1: transactions that overlap arrive in the order of their commits, each whole', async () => {
    const writers = await Promise.all(
      [1, 2, 3].map(async () => {
        const writer = new pg.Client({ connectionString: tenant.source.url });
        await writer.connect();
        return writer;
      }),
    );
    const sums = new Set<number>();
    for (const { sdk } of clients)
      sdk.live<{ total: number }>('select sum(balance) total from accounts', [], ([row]) => sums.add(row?.total ?? -1));
    await Promise.all(
      writers.map(async (writer, w) => {
        for (let i = 0; i < 60; i++) {
          // Two rows in ascending order, so that no two transactions wait for each other; the pairs overlap.
          const from = 1 + ((i * 7 + w * 3) % 29);
          await writer.query('begin');
          await writer.query('update accounts set balance = balance - $1 where id = $2', [i, from]);
          await writer.query('insert into airports values ($1, $2)', [`X${w}-${i}`, 'between the two']);
          await writer.query('update accounts set balance = balance + $1 where id = $2', [i, from + 1]);
          await writer.query(i % 10 === 9 ? 'rollback' : 'commit');
        }
      }),
    );
    await tenant.expectEqual(...clients);
    expect([...sums]).toEqual([3000]);
    for (const writer of writers) await writer.end();
    expect(check.judged).toBeGreaterThan(50);
  });
});

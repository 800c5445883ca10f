import { bucketOf, cell, HELD, NOTES, newWritesSource, TestGateway } from '@sluice/client/testing';
import { createClient, type SluiceClient } from '@sluice/node';
import { serveGateway } from '@sluice/node/testing';
import { Kysely, sql } from 'kysely';
import { afterAll, beforeAll, beforeEach, describe, expect, expectTypeOf, test } from 'vitest';
import { SluiceDialect, statementOf } from './index.ts';

interface Database {
  notes: { id: number; title: string | null; count: number };
  sluice_client: { client_id: string; seq: number };
}

let served: Awaited<ReturnType<typeof serveGateway>>;
let client: SluiceClient;
let db: Kysely<Database>;

beforeAll(async () => {
  const source = newWritesSource();
  source.beginFrame();
  for (const [id, title] of ['one', 'two', 'three'].entries())
    source.set(
      'notes',
      [cell(BigInt(id + 1)), cell(title), cell(null), cell(null), cell(BigInt((id + 1) * 10))],
      [bucketOf(NOTES)],
    );
  const gateway = new TestGateway(source, HELD);
  gateway.writes = { type: 'writes', state: 'enabled', code: '' };
  served = await serveGateway(gateway);
});
afterAll(() => served[Symbol.asyncDispose]());
beforeEach(async () => {
  client = await createClient({ url: served.url, project: 'demo', auth: () => 'jwt' });
  client.connect();
  await client.ready();
  db = new Kysely<Database>({ dialect: new SluiceDialect({ client }) });
  return () => client.close();
});
const titles = async (): Promise<(string | null)[]> =>
  (await db.selectFrom('notes').select('title').orderBy('id').execute()).map(({ title }) => title);

describe('Kysely over a client', () => {
  test('it reads the replica, with the types of the database', async () => {
    const rows = await db.selectFrom('notes').select(['id', 'title']).where('count', '>', 10).orderBy('id').execute();
    expectTypeOf(rows).toEqualTypeOf<{ id: number; title: string | null }[]>();
    expect(rows).toEqual([
      { id: 2, title: 'two' },
      { id: 3, title: 'three' },
    ]);
    const streamed: unknown[] = [];
    for await (const row of db.selectFrom('notes').select('id').orderBy('id').stream()) streamed.push(row);
    expect(streamed).toEqual([{ id: 1 }, { id: 2 }, { id: 3 }]);
    expect(client.status().writes.pending).toBe(0);
  });

  test('each write is one local transaction that goes to the source, and says how many rows it changed', async () => {
    const inserted = await db.insertInto('notes').values({ id: 4, title: 'four', count: 0 }).executeTakeFirstOrThrow();
    expect(inserted.numInsertedOrUpdatedRows).toBe(1n);
    const updated = await db.updateTable('notes').set({ title: 'many' }).where('id', '>', 2).executeTakeFirstOrThrow();
    expect(updated.numUpdatedRows).toBe(2n);
    const returned = await db.deleteFrom('notes').where('id', '=', 1).returning(['id', 'title']).execute();
    expect(returned).toEqual([{ id: 1, title: 'one' }]);
    const none = await db.deleteFrom('notes').where('id', '=', 1).executeTakeFirstOrThrow();
    expect(none.numDeletedRows).toBe(0n);
    const ignored = await db
      .insertInto('notes')
      .values({ id: 2, title: 'again', count: 0 })
      .onConflict((conflict) => conflict.column('id').doNothing())
      .executeTakeFirstOrThrow();
    expect(ignored.numInsertedOrUpdatedRows).toBe(0n);
    expect(await titles()).toEqual(['two', 'many', 'many']);
    expect(client.status().writes.pending).toBe(3);
  });

  test('SQL of the app reads or writes as it stands', async () => {
    const { rows } = await sql<{ n: number }>`with n as (select count(*) as n from notes) select n from n`.execute(db);
    expect(rows).toEqual([{ n: 3 }]);
    await sql`with last as (select max(id) as id from notes) update notes set title = ${'sql'} where id = (select id from last)`.execute(
      db,
    );
    expect(await titles()).toEqual(['one', 'two', 'sql']);
    expect(client.status().writes.pending).toBe(1);
  });

  test('statements that were built are one transaction of the client together, and live queries', async () => {
    await expect(
      client.write([
        statementOf(db.updateTable('notes').set({ title: 'both' }).where('id', '=', 1)),
        statementOf(db.insertInto('notes').values({ id: 2, title: 'taken', count: 0 })),
      ]),
    ).rejects.toMatchObject({ code: 'CLIENT_WRITE_INVALID' });
    expect(await titles()).toEqual(['one', 'two', 'three']);
    const { sql: text, parameters } = statementOf(db.selectFrom('notes').select('title').where('id', '=', 3));
    const seen = await new Promise((resolve) => client.live(text, parameters, resolve));
    expect(seen).toEqual([{ title: 'three' }]);
  });

  test('an interactive transaction is refused with a code and runs nothing', async () => {
    let isRun = false;
    await expect(
      db.transaction().execute(async (transaction) => {
        isRun = true;
        await transaction.deleteFrom('notes').execute();
      }),
    ).rejects.toMatchObject({ name: 'SluiceError', code: 'CLIENT_TRANSACTION_UNSUPPORTED' });
    expect(isRun).toBe(false);
    expect(await titles()).toHaveLength(3);
  });

  test('errors of the client come through, and the client outlives Kysely', async () => {
    await expect(
      db
        .selectFrom('missing' as 'notes')
        .selectAll()
        .execute(),
    ).rejects.toMatchObject({
      code: 'CLIENT_QUERY_INVALID',
    });
    await expect(db.introspection.getTables()).rejects.toMatchObject({ code: 'CLIENT_QUERY_NOT_READ_ONLY' });
    await db.destroy();
    expect(await client.query('select count(*) as n from notes')).toEqual([{ n: 3 }]);
  });
});

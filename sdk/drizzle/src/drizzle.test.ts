import { bucketOf, cell, HELD, NOTES, newWritesSource, TestGateway } from '@sluice/client/testing';
import { createClient, type SluiceClient } from '@sluice/node';
import { serveGateway } from '@sluice/node/testing';
import { eq, gt, relations, sql } from 'drizzle-orm';
import { alias, blob, integer, sqliteTable, text } from 'drizzle-orm/sqlite-core';
import type { SqliteRemoteDatabase } from 'drizzle-orm/sqlite-proxy';
import { afterAll, beforeAll, beforeEach, describe, expect, expectTypeOf, test } from 'vitest';
import { drizzle, statementOf } from './index.ts';

const notes = sqliteTable('notes', {
  id: integer().primaryKey(),
  title: text(),
  body: blob({ mode: 'buffer' }),
  count: integer().notNull(),
});
/** The count of a note is the id of the note that it answers. */
const noteRelations = relations(notes, ({ one }) => ({
  answers: one(notes, { fields: [notes.count], references: [notes.id] }),
}));
const schema = { notes, noteRelations };

let served: Awaited<ReturnType<typeof serveGateway>>;
let client: SluiceClient;
let db: SqliteRemoteDatabase<typeof schema>;

beforeAll(async () => {
  const source = newWritesSource();
  source.beginFrame();
  for (const [index, title] of ['one', 'two', 'three'].entries())
    source.set(
      'notes',
      [cell(BigInt(index + 1)), cell(title), cell(null), cell(Uint8Array.of(index)), cell(BigInt(index))],
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
  db = drizzle(client, { schema });
  return () => client.close();
});
const titles = async (): Promise<(string | null)[]> =>
  (await db.select({ title: notes.title }).from(notes).orderBy(notes.id)).map(({ title }) => title);

describe('Drizzle over a client', () => {
  test('it reads the replica, with the types of the schema', async () => {
    const rows = await db
      .select({ title: notes.title, id: notes.id, body: notes.body })
      .from(notes)
      .where(gt(notes.id, 1))
      .orderBy(notes.id);
    expectTypeOf(rows).toEqualTypeOf<{ title: string | null; id: number; body: Buffer | null }[]>();
    expect(rows).toEqual([
      { title: 'two', id: 2, body: Buffer.of(1) },
      { title: 'three', id: 3, body: Buffer.of(2) },
    ]);
    expect(await db.select().from(notes).where(eq(notes.id, 9)).get()).toBeUndefined();
    expect(
      await db.query.notes.findFirst({
        where: eq(notes.id, 3),
        with: { answers: { columns: { id: true, title: true } } },
      }),
    ).toMatchObject({
      id: 3,
      answers: { id: 2, title: 'two' },
    });
    expect(client.status().writes.pending).toBe(0);
  });

  test('a join keeps columns of one name apart', async () => {
    const answered = alias(notes, 'answered');
    const rows = await db
      .select({ id: notes.id, of: answered.id, title: answered.title, own: notes.title })
      .from(notes)
      .innerJoin(answered, eq(answered.id, notes.count))
      .orderBy(notes.id);
    expect(rows).toEqual([
      { id: 2, of: 1, title: 'one', own: 'two' },
      { id: 3, of: 2, title: 'two', own: 'three' },
    ]);
  });

  test('an unnamed expression is refused where its place would be lost', async () => {
    const unnamed = db.select({ title: notes.title, one: sql<number>`1` }).from(notes);
    await expect(unnamed).rejects.toMatchObject({ cause: { code: 'CLIENT_COLUMNS_UNNAMED' } });
    const [named] = await db
      .select({ title: notes.title, one: sql<number>`1`.as('one') })
      .from(notes)
      .limit(1);
    expect(named).toEqual({ title: 'one', one: 1 });
  });

  test('each write is one local transaction that goes to the source', async () => {
    await db.insert(notes).values({ id: 4, title: 'four', count: 0 });
    const returned = await db
      .update(notes)
      .set({ title: 'many' })
      .where(gt(notes.id, 2))
      .returning({ title: notes.title, id: notes.id });
    expect(returned).toEqual([
      { title: 'many', id: 3 },
      { title: 'many', id: 4 },
    ]);
    await db.delete(notes).where(eq(notes.id, 1));
    expect(await titles()).toEqual(['two', 'many', 'many']);
    expect(client.status().writes.pending).toBe(3);
  });

  test('a batch is one local transaction, all or nothing', async () => {
    await expect(
      db.batch([
        db.update(notes).set({ title: 'both' }).where(eq(notes.id, 1)),
        db.insert(notes).values({ id: 2, title: 'taken', count: 0 }),
      ]),
    ).rejects.toMatchObject({ code: 'CLIENT_WRITE_INVALID' });
    expect(await titles()).toEqual(['one', 'two', 'three']);
    const [, inserted, all] = await db.batch([
      db.update(notes).set({ title: 'both' }).where(eq(notes.id, 1)),
      db.insert(notes).values({ id: 4, title: 'four', count: 0 }).returning({ id: notes.id }),
      db.select({ title: notes.title }).from(notes).orderBy(notes.id),
    ]);
    expect(inserted).toEqual([{ id: 4 }]);
    expect(all).toEqual(['both', 'two', 'three', 'four'].map((title) => ({ title })));
    expect(client.status().writes.pending).toBe(1);
  });

  test('an interactive transaction is refused with a code and runs nothing', async () => {
    let isRun = false;
    const transaction = db.transaction(async (tx) => {
      isRun = true;
      await tx.delete(notes);
    });
    await expect(transaction).rejects.toMatchObject({ cause: { code: 'CLIENT_TRANSACTION_UNSUPPORTED' } });
    expect(isRun).toBe(false);
    expect(await titles()).toHaveLength(3);
  });

  test('a statement that was built is a live query', async () => {
    const { sql: text, parameters } = statementOf(db.select({ title: notes.title }).from(notes).where(eq(notes.id, 3)));
    const seen = await new Promise((resolve) => client.live(text, parameters, resolve));
    expect(seen).toEqual([{ title: 'three' }]);
  });
});

import { createHash } from 'node:crypto';
import { type FreshDatabase, freshDatabase } from '@sluice/testkit';
import { Client } from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { copyOut } from './copy-out.ts';

let database: FreshDatabase;
let client: Client;
beforeAll(async () => {
  database = await freshDatabase('copyout');
  client = new Client({ connectionString: database.url });
  await client.connect();
});
afterAll(async () => {
  await client.end();
  await database[Symbol.asyncDispose]();
});

/** Is full whenever it holds more than `bytesMax`; the pieces that it was emptied in. */
async function copied(sql: string, bytesMax: number): Promise<Buffer[]> {
  const pieces: Buffer[] = [];
  let held: Buffer[] = [];
  const sink = {
    data: (source: Uint8Array, start: number, end: number) => void held.push(Buffer.from(source.slice(start, end))),
    get isFull() {
      return held.reduce((sum, { length }) => sum + length, 0) > bytesMax;
    },
  };
  const take = (): void => {
    pieces.push(Buffer.concat(held));
    held = [];
  };
  for await (const _ of copyOut(client, sql, sink)) take();
  take();
  return pieces;
}
const ROWS =
  'select i, repeat(md5(i::text), case when i % 500 = 0 then 20000 else 3 end) from generate_series(1, 2000) i';

test('L16: a copy is read in pieces that are bounded, long lines too, and the session goes on afterwards', async () => {
  const pieces = await copied(`copy (${ROWS}) to stdout`, 100_000);
  const expected = await client.query<{ text: string }>(
    `select string_agg(i || chr(9) || t || chr(10), '' order by i) as text from (${ROWS}) as r (i, t)`,
  );
  const digest = (bytes: Buffer | string): string => createHash('sha256').update(bytes).digest('hex');
  expect(digest(Buffer.concat(pieces))).toBe(digest(expected.rows[0]?.text ?? ''));
  expect(pieces.length).toBeGreaterThan(10);
  // One chunk of the socket may come on top, and a line that was begun in it.
  expect(Math.max(...pieces.map(({ length }) => length))).toBeLessThan(100_000 + 64 * 1024 + 256 * 1024);
});

test('an error in the middle of a copy ends it as an error, and the session goes on', async () => {
  const failing = 'copy (select 1 / (i - 90000) from generate_series(1, 100000) i) to stdout';
  await expect(copied(failing, 1000)).rejects.toMatchObject({ code: '22012' });
  const { rows } = await client.query('select 1 as one');
  expect(rows).toEqual([{ one: 1 }]);
});

test('a session that is cut in the middle of a copy ends it as an error', async () => {
  const cut = new Client({ connectionString: database.url });
  cut.on('error', () => {});
  await cut.connect();
  let count = 0;
  let isCut = false;
  const sink = {
    data: () => void count++,
    get isFull() {
      return count > 0 && !isCut;
    },
  };
  const copy = async (): Promise<void> => {
    for await (const _ of copyOut(cut, 'copy (select * from generate_series(1, 3000000)) to stdout', sink)) {
      isCut = true;
      await client.query(
        `select pg_terminate_backend(pid) from pg_stat_activity where query like 'copy (select * from generate%'`,
      );
    }
  };
  await expect(copy()).rejects.toThrow();
  expect(count).toBeGreaterThan(0);
  expect(count).toBeLessThan(3_000_000);
  await cut.end().catch(() => {});
});

import type { Mutation } from '@sluice/protocol';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { mutation, TestClient, type WriterStack, writerStack } from '../testing/writer-stack.ts';

/** One table of each policy, of the same columns, and one that is only read. */
const POLICIES = { merged: 'merge', strict: 'reject-if-stale', yielding: 'server-wins', added: 'insert-only' };
const TABLES = [...Object.keys(POLICIES), 'shown'];
const CLAIMS = "current_setting('request.jwt.claims')::jsonb";

let stack: WriterStack;
let ann: TestClient;

beforeAll(async () => {
  stack = await writerStack({
    tablesSql: [
      ...TABLES.map(
        (table) => `
        CREATE TABLE ${table} (id int PRIMARY KEY, title text, n int DEFAULT 7, owner text);
        GRANT SELECT, INSERT, UPDATE, DELETE ON ${table} TO {app};`,
      ),
      `CREATE TABLE checked (
         id int PRIMARY KEY, title varchar(5) UNIQUE, n int NOT NULL DEFAULT 0 CONSTRAINT n_is_small CHECK (n < 100),
         parent int REFERENCES checked DEFERRABLE INITIALLY DEFERRED, bytes bytea);
       CREATE TABLE owned (id int PRIMARY KEY, owner text NOT NULL, title text);
       CREATE TABLE unwritten (id int PRIMARY KEY, title text);
       CREATE TABLE guarded (id int PRIMARY KEY, title text);
       GRANT SELECT, INSERT, UPDATE, DELETE ON checked, owned, guarded TO {app};
       GRANT SELECT ON unwritten TO {app};
       ALTER TABLE owned ENABLE ROW LEVEL SECURITY;
       CREATE POLICY p ON owned TO {app} USING (owner = ${CLAIMS} ->> 'sub') WITH CHECK (owner = ${CLAIMS} ->> 'sub');
       CREATE FUNCTION say_no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
         RAISE EXCEPTION 'the secret is 42';
       END $$;
       CREATE TRIGGER t BEFORE INSERT ON guarded FOR EACH ROW EXECUTE FUNCTION say_no();`,
    ].join('\n'),
    policies: { ...POLICIES, checked: 'merge', owned: 'merge', unwritten: 'merge', guarded: 'merge' },
    readOnly: ['shown'],
  });
});
afterAll(() => stack?.[Symbol.asyncDispose]());
beforeEach(async () => {
  await stack.sql(`TRUNCATE ${[...TABLES, 'checked', 'owned', 'unwritten', 'guarded'].join(', ')}`);
  for (const table of TABLES) await stack.sql(`INSERT INTO ${table} VALUES (1, 'now', 1, 'x')`);
  ann = new TestClient(stack.writer, 'ann');
});

interface RefusalRow extends Record<string, unknown> {
  readonly seq: string;
  readonly code: string;
  readonly reason: string;
}
const refusals = () =>
  stack.sql<RefusalRow>('SELECT seq, code, reason, subject FROM sluice.refusal WHERE client_id = $1 ORDER BY seq', [
    ann.id,
  ]);
const rowOf = async (table: string, id: number) => (await stack.sql(`SELECT * FROM ${table} WHERE id = $1`, [id]))[0];
/** Uploads and gives the refusal's code, or `written`. */
async function outcome(...mutations: readonly Mutation[]): Promise<string> {
  const { result, code } = await ann.upload(...mutations);
  expect([result, code]).toEqual(['recorded', '']);
  const last = (await refusals()).at(-1);
  return Number(last?.seq) === ann.seq ? (last?.code ?? '') : 'written';
}

describe('each policy', () => {
  const update = (table: string, was: string, id = 1) =>
    mutation('update', table, { key: [id], set: { title: 'mine' }, was: { title: was } });

  it.each([
    ['merged', 'now', 'written', 'mine'],
    ['merged', 'before', 'written', 'mine'],
    ['strict', 'now', 'written', 'mine'],
    ['strict', 'before', 'WRITE_STALE', 'now'],
    ['yielding', 'now', 'written', 'mine'],
    ['yielding', 'before', 'written', 'now'],
    ['added', 'now', 'WRITE_INSERT_ONLY', 'now'],
  ])('%s: a change of a row that was seen as %s is %s', async (table, was, expected, title) => {
    expect(await outcome(update(table, was))).toBe(expected);
    // Columns that the client did not change are what they were.
    expect(await rowOf(table, 1)).toEqual({ id: 1, title, n: 1, owner: 'x' });
  });

  it.each([
    ['merged', 'before', 'written', false],
    ['strict', 'now', 'written', false],
    ['strict', 'before', 'WRITE_STALE', true],
    ['yielding', 'now', 'written', false],
    ['yielding', 'before', 'written', true],
    ['added', 'now', 'WRITE_INSERT_ONLY', true],
  ])('%s: a delete of a row that was seen as %s is %s', async (table, was, expected, isThere) => {
    expect(await outcome(mutation('delete', table, { key: [1], was: { title: was } }))).toBe(expected);
    expect((await rowOf(table, 1)) !== undefined).toBe(isThere);
  });

  it.each([
    ['merged', 'written', 'mine'],
    ['strict', 'WRITE_CONSTRAINT', 'now'],
    ['yielding', 'WRITE_CONSTRAINT', 'now'],
    ['added', 'WRITE_CONSTRAINT', 'now'],
  ])('%s: an insert of a key that is there is %s', async (table, expected, title) => {
    expect(await outcome(mutation('insert', table, { key: [1], set: { title: 'mine' } }))).toBe(expected);
    expect(await rowOf(table, 1)).toEqual({ id: 1, title, n: 1, owner: 'x' });
  });

  it.each(Object.keys(POLICIES))(
    '%s: an insert of a new key, whose other columns get their defaults',
    async (table) => {
      expect(await outcome(mutation('insert', table, { key: [2], set: { title: 'mine' } }))).toBe('written');
      expect(await rowOf(table, 2)).toEqual({ id: 2, title: 'mine', n: 7, owner: null });
      expect(await outcome(mutation('upsert', table, { key: [3], set: { title: 'mine' } }))).toBe('written');
      expect(await rowOf(table, 3)).toMatchObject({ title: 'mine' });
    },
  );

  it.each([
    ['merged', 'before', 'written', 'mine'],
    ['strict', 'now', 'written', 'mine'],
    ['strict', 'before', 'WRITE_STALE', 'now'],
    ['yielding', 'before', 'written', 'now'],
    ['added', 'now', 'WRITE_CONSTRAINT', 'now'],
  ])('%s: an upsert of a row that was seen as %s is %s', async (table, was, expected, title) => {
    expect(await outcome(mutation('upsert', table, { key: [1], set: { title: 'mine' }, was: { title: was } }))).toBe(
      expected,
    );
    expect(await rowOf(table, 1)).toMatchObject({ title });
  });

  it.each(['merged', 'strict', 'yielding'])(
    '%s: an upsert leaves what its user did not change as it is, and makes the whole row where there is none',
    async (table) => {
      const seen = { title: 'now', n: 5, owner: 'y' };
      const upsert = (id: number) =>
        mutation('upsert', table, { key: [id], set: { ...seen, title: 'mine' }, was: seen });
      expect(await outcome(upsert(1))).toBe('written');
      expect(await rowOf(table, 1)).toEqual({ id: 1, title: 'mine', n: 1, owner: 'x' });
      expect(await outcome(upsert(9))).toBe('written');
      expect(await rowOf(table, 9)).toEqual({ id: 9, title: 'mine', n: 5, owner: 'y' });
    },
  );

  it.each(['merged', 'strict', 'yielding'])(
    '%s: a change of a row that is gone is refused, its delete is not',
    async (table) => {
      expect(await outcome(update(table, 'now', 9))).toBe('WRITE_ROW_NOT_FOUND');
      expect(await outcome(mutation('delete', table, { key: [9], was: { title: 'now' } }))).toBe('written');
    },
  );

  it('NULL is a value that a row may have been seen with', async () => {
    await stack.sql('UPDATE strict SET title = NULL');
    const nothing = mutation('update', 'strict', { key: [1], set: { title: 'mine' }, was: { title: null } });
    expect(await outcome(nothing)).toBe('written');
    expect(
      await outcome(mutation('update', 'strict', { key: [1], set: { title: null }, was: { title: 'mine' } })),
    ).toBe('written');
    expect(await rowOf('strict', 1)).toMatchObject({ title: null });
  });

  it('what the same upload wrote before counts', async () => {
    const expected = await outcome(
      mutation('insert', 'strict', { key: [2], set: { title: 'a' } }),
      mutation('update', 'strict', { key: [2], set: { title: 'b' }, was: { title: 'a' } }),
      mutation('delete', 'strict', { key: [1], was: { title: 'now', n: 1, owner: 'x' } }),
      mutation('insert', 'strict', { key: [1], set: { title: 'anew' } }),
    );
    expect(expected).toBe('written');
    expect([await rowOf('strict', 1), await rowOf('strict', 2)]).toMatchObject([{ title: 'anew' }, { title: 'b' }]);
  });
});

describe('what is refused for good', () => {
  const insert = (table: string, set: Parameters<typeof mutation>[2]['set'], id = 5) =>
    mutation('insert', table, { key: [id], set: set ?? {} });

  it.each([
    ['WRITE_CONSTRAINT', 'checked, constraint n_is_small, SQLSTATE 23514', insert('checked', { n: 100 })],
    ['WRITE_CONSTRAINT', 'checked, column n, SQLSTATE 23502', insert('checked', { n: null })],
    ['WRITE_CONSTRAINT', 'checked, constraint checked_parent_fkey, SQLSTATE 23503', insert('checked', { parent: 77 })],
    ['WRITE_FORBIDDEN', 'unwritten, SQLSTATE 42501', insert('unwritten', { title: 'x' })],
    ['WRITE_FORBIDDEN', 'owned, SQLSTATE 42501', insert('owned', { owner: 'bob' })],
    ['WRITE_VALUE_INVALID', 'checked, SQLSTATE 22001', insert('checked', { title: 'too long' })],
    ['WRITE_VALUE_INVALID', 'checked, SQLSTATE 22P02', insert('checked', { n: 1.5 })],
    ['WRITE_VALUE_INVALID', 'checked, SQLSTATE 22003', insert('checked', { n: 3_000_000_000 })],
    ['WRITE_VALUE_INVALID', 'merged, SQLSTATE 22021', insert('merged', { title: 'a\0b' })],
    ['WRITE_VALUE_INVALID', 'merged, column "title"', insert('merged', { title: Uint8Array.of(1) })],
    ['WRITE_VALUE_INVALID', 'checked, column "bytes"', insert('checked', { bytes: 'text' })],
    ['WRITE_VALUE_INVALID', 'merged, column id', mutation('insert', 'merged', { key: [null] })],
    ['WRITE_TABLE_UNKNOWN', '"nowhere\\u0000; DROP"', insert('nowhere\0; DROP', { title: 'x' })],
    ['WRITE_TABLE_READ_ONLY', '"shown"', insert('shown', { title: 'x' })],
    ['WRITE_COLUMN_UNKNOWN', 'merged, column "titel"', insert('merged', { titel: 'x' })],
    ['WRITE_MALFORMED', 'merged', mutation('delete', 'merged', { key: [1, 2] })],
    ['WRITE_MALFORMED', 'merged, column "id"', mutation('update', 'merged', { key: [1], set: { id: 2 } })],
    ['WRITE_MALFORMED', 'strict, column "title"', mutation('update', 'strict', { key: [1], set: { title: 'x' } })],
    ['WRITE_REJECTED', 'guarded, SQLSTATE P0001', insert('guarded', { title: 'x' })],
  ] as const)('%s: %s', async (code, reason, refused) => {
    expect(await outcome(mutation('update', 'merged', { key: [1], set: { title: 'half' } }), refused)).toBe(code);
    const [row] = await refusals();
    expect(row).toMatchObject({ code, subject: 'ann' });
    expect(row?.reason.replace('column id', 'column "id"')).toBe(reason.replace('column id', 'column "id"'));
    // Nothing of the transaction is written, and what comes after it is.
    expect(await rowOf('merged', 1)).toMatchObject({ title: 'now' });
    expect(await outcome(mutation('update', 'merged', { key: [1], set: { title: 'next' } }))).toBe('written');
    expect(await rowOf('merged', 1)).toMatchObject({ title: 'next' });
  });

  it("L13: a reason quotes nothing of other rows: not the server's message, not its detail", async () => {
    await stack.sql("INSERT INTO checked (id, title) VALUES (1, 's3cr3')");
    expect(await outcome(insert('checked', { title: 's3cr3' }))).toBe('WRITE_CONSTRAINT');
    const [row] = await refusals();
    expect(row?.reason).toBe('checked, constraint checked_title_key, SQLSTATE 23505');
    expect(stack.records.join('')).not.toContain('s3cr3');
    expect(stack.records.join('')).not.toContain('the secret is 42');
  });

  it('a deferred constraint counts at the end of the upload, not before', async () => {
    expect(await outcome(insert('checked', { parent: 6 }, 5), insert('checked', {}, 6))).toBe('written');
    expect(await outcome(insert('checked', { parent: 8 }, 7))).toBe('WRITE_CONSTRAINT');
  });

  it('WRITE_TOO_LARGE: more mutations than one upload may have', async () => {
    const many = Array.from({ length: 5001 }, (_, i) => mutation('delete', 'merged', { key: [i + 10] }));
    expect(await outcome(...many)).toBe('WRITE_TOO_LARGE');
  });

  it('WRITE_COLUMN_UNKNOWN, WRITE_TABLE_UNKNOWN: what was dropped at the source since', async () => {
    await stack.sql('CREATE TABLE kept AS SELECT * FROM checked');
    await stack.sql('ALTER TABLE checked DROP COLUMN bytes');
    expect(await outcome(insert('checked', { bytes: Uint8Array.of(1) }))).toBe('WRITE_COLUMN_UNKNOWN');
    await stack.sql('ALTER TABLE checked ADD COLUMN bytes bytea; ALTER TABLE guarded RENAME TO renamed');
    expect(await outcome(insert('guarded', { title: 'x' }))).toBe('WRITE_TABLE_UNKNOWN');
    await stack.sql('ALTER TABLE renamed RENAME TO guarded; DROP TABLE kept');
  });

  it('refusals stay until the client has kept them', async () => {
    for (let i = 0; i < 3; i++) await ann.upload(insert('shown', { title: 'x' }));
    expect((await refusals()).map(({ seq }) => seq)).toEqual(['1', '2', '3']);
    ann.refusalsKept = 2;
    await ann.upload();
    expect((await refusals()).map(({ seq }) => seq)).toEqual(['3']);
    // Those of others are not the client's to forget.
    const bob = new TestClient(stack.writer, 'ann');
    bob.refusalsKept = 3;
    bob.seq = 0;
    for (let i = 0; i < 4; i++) await bob.upload();
    expect((await refusals()).map(({ seq }) => seq)).toEqual(['3']);
  });
});

describe('L13: row-level security holds', () => {
  it('a user writes their own rows, and does not find those of others', async () => {
    await stack.sql("INSERT INTO owned VALUES (1, 'ann', 'mine'), (2, 'bob', 'his')");
    const rename = (id: number) =>
      mutation('update', 'owned', { key: [id], set: { title: 'new' }, was: { title: '' } });
    expect(await outcome(rename(1))).toBe('written');
    expect(await outcome(rename(2))).toBe('WRITE_ROW_NOT_FOUND');
    expect(await outcome(mutation('delete', 'owned', { key: [2] }))).toBe('written');
    expect(await outcome(mutation('insert', 'owned', { key: [2], set: { owner: 'ann' } }))).toBe('WRITE_CONSTRAINT');
    expect(await outcome(mutation('update', 'owned', { key: [1], set: { owner: 'bob' } }))).toBe('WRITE_FORBIDDEN');
    expect(await stack.sql('SELECT * FROM owned ORDER BY id')).toEqual([
      { id: 1, owner: 'ann', title: 'new' },
      { id: 2, owner: 'bob', title: 'his' },
    ]);
  });

  it('a row that the user may see but not change is forbidden, not gone', async () => {
    await stack.sql(
      `INSERT INTO owned VALUES (3, 'bob', 'his'); CREATE POLICY seen ON owned FOR SELECT TO ${stack.app} USING (true)`,
    );
    try {
      expect(await outcome(mutation('update', 'owned', { key: [3], set: { title: 'x' } }))).toBe('WRITE_FORBIDDEN');
      expect(await outcome(mutation('delete', 'owned', { key: [3] }))).toBe('WRITE_FORBIDDEN');
    } finally {
      await stack.sql('DROP POLICY seen ON owned');
    }
  });

  it('the role and the claims of one upload are gone with it, written or refused', async () => {
    await ann.upload(mutation('insert', 'owned', { key: [7], set: { owner: 'ann' } }));
    await ann.upload(mutation('insert', 'owned', { key: [8], set: { owner: 'bob' } }));
    const bob = new TestClient(stack.writer, 'bob');
    await bob.upload(mutation('insert', 'owned', { key: [9], set: { owner: 'bob' } }));
    await bob.upload(mutation('insert', 'owned', { key: [10], set: { owner: 'ann' } }));
    expect(await stack.sql('SELECT id, owner FROM owned ORDER BY id')).toEqual([
      { id: 7, owner: 'ann' },
      { id: 9, owner: 'bob' },
    ]);
  });
});

import { describe, expect, test } from 'vitest';
import { catalog } from './catalog.fixture.ts';
import { compiled, compiledStream, printed } from './compiled.fixture.ts';
import { parseAndCompile } from './parse-and-compile.ts';

const MEMBERS = 'SELECT team_id FROM team_members WHERE user_id = auth.user_id()';
const MEMBERSHIP = 'team_id:int of public.team_members(id) where user_id:uuid = @sub';

/** WHERE, and what the plan says of it. */
const accepted: readonly (readonly [where: string, plan: readonly string[]])[] = [
  ['TRUE', ['']],
  ['NOT FALSE', ['']],
  ['owner_id = auth.user_id()', ['owner_id:uuid = @sub']],
  ['auth.user_id() = owner_id', ['owner_id:uuid = @sub']],
  ['t.owner_id = AUTH.User_ID()', ['owner_id:uuid = @sub']],
  ['owner_id = auth.user_id()::uuid', ['owner_id:uuid = @sub']],
  ['owner_id::text = auth.user_id()', ['owner_id:text = @sub']],
  ["team_id = auth.claim('team')::bigint", ['team_id:int = @team']],
  ["team_id = auth.claim('org', 'team.id')", ['team_id:int = @org.team.id']],
  ["done = auth.claim('x')", ['done:bool = @x']],
  ["mood = auth.claim('mood')", ['mood:text = @mood']],
  ["email = auth.claim('email')", ['email:text = @email']],
  ["status = auth.claim('s') AND owner_id = auth.user_id()", ['owner_id:uuid = @sub and status:text = @s']],
  ["title = 'it''s'", ["title = it's"]],
  ["title = $$a$$ AND status <> E'\\n'", ['status <> \n and title = a']],
  ["title = ''", ['title = ']],
  ["'a'::text = title", ['title = a']],
  ['team_id = 7', ['team_id = 7']],
  ['team_id = -7', ['team_id = -7']],
  ["team_id = ' +007 '", ['team_id = 7']],
  ["team_id = '-0'", ['team_id = 0']],
  ['team_id = 0x1F', ['team_id = 31']],
  ['team_id = -2147483648', ['team_id = -2147483648']],
  ["team_id::text = '007'", ['team_id = 007']],
  ["owner_id = 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", ['owner_id = a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11']],
  ['done', ['done = t']],
  ['NOT done', ['done = f']],
  ['NOT NOT done', ['done = t']],
  ["done = TRUE AND done <> 'no'", ['done = t and done <> f']],
  ['deleted_at IS NULL', ['deleted_at is-null']],
  ['NOT (deleted_at IS NULL)', ['deleted_at is-not-null']],
  ['price IS NOT NULL', ['price is-not-null']],
  ["title <> 'a'", ['title <> a']],
  ["title != 'a'", ['title <> a']],
  ["NOT (title = 'a')", ['title <> a']],
  ["title IN ('b', 'a', 'b')", ['title in a|b']],
  ["title IN ('b')", ['title = b']],
  ["title NOT IN ('b', 'a')", ['title <> a and title <> b']],
  ["NOT (title NOT IN ('b', 'a'))", ['title in a|b']],
  ['NOT (done OR deleted_at IS NULL)', ['deleted_at is-not-null and done = f']],
  ['NOT (done AND deleted_at IS NULL)', ['deleted_at is-not-null', 'done = f']],
  ["auth.claim('role') = 'admin'", ['@role = "admin"']],
  ["'admin' = auth.claim('role')", ['@role = "admin"']],
  ["auth.claim('role') <> 'guest'", ['@role <> "guest"']],
  ["NOT (auth.claim('role') = 'guest')", ['@role <> "guest"']],
  ["auth.claim('role') IN ('owner', 'admin')", ['@role in "admin"|"owner"']],
  ["auth.claim('level') = 3 AND auth.claim('staff') = true", ['@level = 3 and @staff = true']],
  ["auth.user_id() = 'root'", ['@sub = "root"']],
  [`team_id IN (${MEMBERS})`, ['team_id:int = member 0', MEMBERSHIP]],
  [`team_id IN (${MEMBERS}) AND team_id IN (${MEMBERS})`, ['team_id:int = member 0', MEMBERSHIP]],
  [
    `owner_id = auth.user_id() OR team_id IN (${MEMBERS} AND left_at IS NULL AND role <> 'guest')`,
    [
      'owner_id:uuid = @sub',
      'team_id:int = member 0',
      `team_id:int of public.team_members(id) where left_at is-null and role <> guest and user_id:uuid = @sub`,
    ],
  ],
  [
    "team_id IN (SELECT m.team_id FROM team_members AS m WHERE m.user_id = auth.user_id() AND auth.claim('role') = 'x')",
    ['team_id:int = member 0', 'team_id:int of public.team_members(id) where @role = "x" and user_id:uuid = @sub'],
  ],
  [
    "team_id IN (SELECT team_id FROM team_members WHERE user_id = auth.user_id() AND role = auth.claim('role'))",
    [
      'team_id:int = member 0',
      'team_id:int of public.team_members(id) where role:text = @role and user_id:uuid = @sub',
    ],
  ],
  [
    "team_id IN (SELECT team_id FROM team_members WHERE user_id = auth.user_id() OR role = auth.claim('role'))",
    [
      'team_id:int = member 0',
      'team_id:int = member 1',
      'team_id:int of public.team_members(id) where role:text = @role',
      MEMBERSHIP,
    ],
  ],
  [
    'mood IN (SELECT mood FROM team_members WHERE user_id = auth.user_id())',
    ['mood:text = member 0', 'mood:text of public.team_members(id) where user_id:uuid = @sub'],
  ],
  [
    'owner_id::text IN (SELECT role FROM team_members WHERE user_id = auth.user_id())',
    ['owner_id:text = member 0', 'role:text of public.team_members(id) where user_id:uuid = @sub'],
  ],
  [
    "(done OR title = 'a') AND (status = 'x' OR status = 'y')",
    ['done = t and status = x', 'done = t and status = y', 'status = x and title = a', 'status = y and title = a'],
  ],
];

describe('what is accepted means what Postgres would make of it', () => {
  test.each(accepted)('%s', async (where, plan) => {
    expect(printed(await compiledStream(`SELECT * FROM tasks t WHERE ${where}`))).toEqual(plan);
  });
});

describe('the select list', () => {
  test('L6: key columns come first, in key order; the others as selected', async () => {
    const { table } = await compiledStream('SELECT * FROM pair_key');
    expect(table.columns.map(({ name }) => name)).toEqual(['a', 'b', 'note']);
    expect(table.keyColumns).toBe(2);
  });

  test('columns have an SQLite type, and the base type of a domain decides it', async () => {
    const { table } = await compiledStream('SELECT email, done, score AS points, tasks.id FROM tasks');
    expect(table.columns.map(({ name, sqliteType, source }) => [name, sqliteType, source.name])).toEqual([
      ['id', 'TEXT', 'id'],
      ['email', 'TEXT', 'email'],
      ['done', 'INTEGER', 'done'],
      ['points', 'ANY', 'score'],
    ]);
  });

  test('a generated column is left out of * with a warning', async () => {
    const result = await parseAndCompile('version: 1\nstreams: {s: {query: "SELECT * FROM with_generated"}}', catalog);
    expect(result).toMatchObject({
      kind: 'ok',
      warnings: [{ code: 'RULES_COLUMN_GENERATED', line: 2, column: 30 }],
      rules: { streams: [{ table: { columns: [{ name: 'id' }] } }] },
    });
  });

  test('quoted and Unicode names are kept as they are', async () => {
    const plan = await compiledStream('SELECT ä.id, "größe" FROM "Große Äpfel" AS ä WHERE "ä"."Größe" = \'süß\'');
    expect(plan.table).toMatchObject({ name: 'Große Äpfel', columns: [{ name: 'id' }, { name: 'größe' }] });
    expect(printed(plan)).toEqual(['Größe = süß']);
  });

  test('names without quotes are folded and U& escapes read, as in Postgres', async () => {
    const plan = await compiledStream('SELECT ID, U&"t\\0069tle" FROM PUBLIC.Tasks');
    expect(plan.table.columns.map(({ name }) => name)).toEqual(['id', 'title']);
  });
});

describe('rules files', () => {
  test('name every table that they read once, sorted', async () => {
    const { tables } = await compiled(`
version: 1
streams:
  b: { query: "SELECT * FROM tasks WHERE team_id IN (${MEMBERS})" }
  a: { query: "SELECT * FROM team_members" }
  c: { query: "SELECT * FROM shop.orders", table: shop_orders }
`);
    expect(tables).toEqual([
      { schema: 'public', name: 'tasks' },
      { schema: 'public', name: 'team_members' },
      { schema: 'shop', name: 'orders' },
    ]);
  });

  test('L12: two streams may feed one client table when they agree on it', async () => {
    const { streams } = await compiled(`
version: 1
streams:
  mine: { query: "SELECT id, title FROM tasks WHERE owner_id = auth.user_id()" }
  open: { query: "SELECT title, id FROM tasks WHERE done = false", table: tasks }
`);
    expect(streams.map(({ table }) => table.name)).toEqual(['tasks', 'tasks']);
  });

  test.each([
    ['SELECT id, title, status FROM tasks', 'tasks', 'different columns'],
    ['SELECT id, title FROM archived', 'tasks', 'different tables'],
    ['SELECT id, title FROM tasks', 'Tasks', 'different capitals'],
  ])('L12: %s into %s is refused: %s', async (query, table, difference) => {
    const result = await parseAndCompile(
      `version: 1\nstreams:\n  a: { query: "SELECT id, title FROM tasks" }\n  b: { query: "${query}", table: ${table} }\n`,
      catalog,
    );
    expect(result).toMatchObject({ kind: 'invalid', diagnostics: [{ code: 'RULES_TABLE_CONFLICT', line: 4 }] });
    expect(result.kind === 'invalid' && result.diagnostics[0]?.message).toContain(difference);
  });
});

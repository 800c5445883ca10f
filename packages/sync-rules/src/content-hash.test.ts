import { describe, expect, test } from 'vitest';
import { catalog, column, table } from './catalog.fixture.ts';
import { compiled, compiledStream } from './compiled.fixture.ts';
import { diffRules, relevantStreams } from './diff-rules.ts';
import type { Catalog } from './plan.ts';

const QUERY = `SELECT id, title AS name, done FROM tasks
  WHERE (owner_id = auth.user_id() OR team_id IN
    (SELECT team_id FROM team_members WHERE user_id = auth.user_id() AND left_at IS NULL AND role <> 'guest'))
  AND status IN ('open', 'late') AND auth.claim('app', 'role') = 'member'`;

/**
 * Plans are stored: a change of their shape, or of what goes into a stream's identity, makes every stream of every
 * project copy again. Raise PLAN_VERSION when this changes.
 */
test('L11: the plan format is that of PLAN_VERSION 1', async () => {
  const plan = await compiledStream(QUERY);
  expect([plan.version, plan.contentHash]).toEqual([
    1,
    '197b8bcc2a4c3d0e13753fe973ef75de36d6b1095880ce4dabe1ae2580e680b8',
  ]);
  // Type names are stored for documents and are no part of the identity.
  expect(plan.table.columns.map(({ pgType }) => pgType)).toEqual(['uuid', 'text', 'bool']);
});

const hashOf = async (query: string, source?: Catalog) => (await compiledStream(query, source)).contentHash;

describe('L11: the content hash follows the meaning', () => {
  test.each([
    [
      'white space and comments',
      'SELECT id, title FROM tasks -- c\n WHERE  done',
      'SELECT id,title FROM tasks WHERE done',
    ],
    ['names of the alias', 'SELECT t.id FROM tasks t WHERE t.done', 'SELECT id FROM public.tasks WHERE done'],
    [
      'order of AND',
      "SELECT id FROM tasks WHERE done AND title = 'a'",
      "SELECT id FROM tasks WHERE title = 'a' AND done",
    ],
    ['order of OR', "SELECT id FROM tasks WHERE done OR title = 'a'", "SELECT id FROM tasks WHERE title = 'a' OR done"],
    [
      'order of an IN list',
      "SELECT id FROM tasks WHERE title IN ('a','b')",
      "SELECT id FROM tasks WHERE title IN ('b','a')",
    ],
    ['place of the key', 'SELECT id, title FROM tasks', 'SELECT title, id FROM tasks'],
    ['spelling of a constant', "SELECT id FROM tasks WHERE team_id = '007'", 'SELECT id FROM tasks WHERE team_id = 7'],
  ])('not the %s', async (_, a, b) => {
    expect(await hashOf(a)).toBe(await hashOf(b));
  });

  test.each([
    ['columns', 'SELECT id FROM tasks', 'SELECT id, title FROM tasks'],
    ['order of columns', 'SELECT id, title, done FROM tasks', 'SELECT id, done, title FROM tasks'],
    ['client names', 'SELECT id, title FROM tasks', 'SELECT id, title AS name FROM tasks'],
    ['condition', "SELECT id FROM tasks WHERE title = 'a'", "SELECT id FROM tasks WHERE title = 'b'"],
    [
      'claim',
      "SELECT id FROM tasks WHERE title = auth.claim('a')",
      "SELECT id FROM tasks WHERE title = auth.claim('b')",
    ],
    [
      'path',
      "SELECT id FROM tasks WHERE title = auth.claim('a.b')",
      "SELECT id FROM tasks WHERE title = auth.claim('a', 'b')",
    ],
    [
      'compared type',
      'SELECT id FROM tasks WHERE id = auth.user_id()',
      'SELECT id FROM tasks WHERE id::text = auth.user_id()',
    ],
  ])('but the %s', async (_, a, b) => {
    expect(await hashOf(a)).not.toBe(await hashOf(b));
  });

  test('and the relation: types, modifiers and the table itself', async () => {
    const source = (pgType: string, oid: number, typmod = -1) => ({
      tables: [table('rows', [column('id', 'integer'), column('v', pgType, { typmod })], { oid })],
    });
    const sources = [
      source('text', 1),
      source('text', 2),
      source('character varying(20)', 1, 24),
      source('character varying(20)', 1, 34),
    ];
    const hashes = await Promise.all(sources.map((rows) => hashOf('SELECT id, v FROM rows', rows)));
    expect(new Set(hashes).size).toBe(4);
  });

  test('and the relation of a membership, even when no column of it changed', async () => {
    const query =
      'SELECT id FROM tasks WHERE team_id IN (SELECT team_id FROM team_members WHERE user_id = auth.user_id())';
    const other = {
      tables: catalog.tables.map((entry) => (entry.name === 'team_members' ? { ...entry, oid: entry.oid + 1 } : entry)),
    };
    expect(await hashOf(query, other)).not.toBe(await hashOf(query));
  });
});

const stream = (name: string, query: string) => `  ${name}: { query: "${query}" }\n`;
const HEAD = 'version: 1\nstreams:\n';

test('L11: a deploy keeps what stayed equal, adds what is new and drops what is gone', async () => {
  const old = await compiled(
    `${HEAD}${stream('a', 'SELECT id FROM tasks')}${stream('b', 'SELECT * FROM team_members')}${stream('c', 'SELECT id FROM archived')}`,
  );
  const next = await compiled(
    `${HEAD}${stream('b', 'SELECT *   FROM public.team_members')}${stream('c', 'SELECT id, title FROM archived')}${stream('d', 'SELECT id FROM tasks')}`,
  );
  const { added, kept, dropped } = diffRules(old, next);
  expect(added.map(({ name }) => name)).toEqual(['c', 'd']);
  expect(kept.map(({ name }) => name)).toEqual(['b']);
  expect(dropped.map(({ name }) => name)).toEqual(['a', 'c']);
  expect(diffRules(next, next)).toEqual({ added: [], kept: next.streams, dropped: [] });
});

test('a change of a table concerns the streams that read it, as rows or as members', async () => {
  const { streams } = await compiled(
    `${HEAD}${stream('a', 'SELECT id FROM tasks WHERE team_id IN (SELECT team_id FROM team_members WHERE user_id = auth.user_id())')}${stream('b', 'SELECT * FROM team_members')}`,
  );
  const found = relevantStreams(streams, { schema: 'public', name: 'team_members' });
  expect(found.rows.map(({ name }) => name)).toEqual(['b']);
  expect(found.memberships.map(({ plan, membership }) => [plan.name, membership])).toEqual([['a', 0]]);
  expect(relevantStreams(streams, { schema: 'other', name: 'team_members' })).toEqual({ rows: [], memberships: [] });
});

import { isCode } from '@sluice/errors';
import { describe, expect, test } from 'vitest';
import { catalog } from './catalog.fixture.ts';
import { marked, oneStream } from './marked-rules.fixture.ts';
import { parseAndCompile } from './parse-and-compile.ts';

/** What is refused, with the marks around the place that the diagnostic must name. */
const refused: readonly (readonly [code: string, query: string])[] = [
  // Syntax
  ['RULES_SQL_SYNTAX', 'SELECT * «FRM» tasks'],
  ['RULES_SQL_SYNTAX', "SELECT '😀é' AS x, «FROM» tasks"],
  ['RULES_SQL_SYNTAX', 'SELECT *\nFROM tasks\nWHERE done «AN» done'],
  ['RULES_SQL_SYNTAX', "SELECT id FROM tasks WHERE title = «'»open"],
  ['RULES_SQL_SYNTAX', 'SELECT id FROM tasks WHERE title =«»'],
  ['RULES_SQL_SYNTAX', 'SELECT id FROM tasks WHERE id = «:»user'],
  // Statements and clauses
  ['RULES_STATEMENT_UNSUPPORTED', '«-- nothing»'],
  ['RULES_STATEMENT_UNSUPPORTED', 'SELECT id FROM tasks; SELECT «id FROM tasks»'],
  ['RULES_STATEMENT_UNSUPPORTED', '«DELETE FROM tasks»'],
  ['RULES_STATEMENT_UNSUPPORTED', '«DROP TABLE tasks»'],
  ['RULES_STATEMENT_UNSUPPORTED', 'SELECT «id FROM tasks UNION SELECT id FROM tasks»'],
  ['RULES_STATEMENT_UNSUPPORTED', 'SELECT «1»'],
  ['RULES_CLAUSE_UNSUPPORTED', 'SELECT id FROM tasks ORDER BY «title»'],
  ['RULES_CLAUSE_UNSUPPORTED', 'SELECT id FROM tasks LIMIT «5»'],
  ['RULES_CLAUSE_UNSUPPORTED', 'SELECT id FROM tasks GROUP BY «id»'],
  ['RULES_CLAUSE_UNSUPPORTED', 'WITH «x AS (SELECT 1)» SELECT id FROM tasks'],
  ['RULES_CLAUSE_UNSUPPORTED', 'SELECT id FROM «tasks t JOIN team_members m ON t.team_id = m.team_id»'],
  ['RULES_CLAUSE_UNSUPPORTED', 'SELECT t.id FROM tasks t, «team_members»'],
  ['RULES_CLAUSE_UNSUPPORTED', 'SELECT id FROM ONLY «tasks»'],
  ['RULES_CLAUSE_UNSUPPORTED', 'SELECT a FROM «tasks» AS t (a)'],
  ['RULES_CLAUSE_UNSUPPORTED', 'SELECT id FROM (SELECT «id FROM tasks») t'],
  ['RULES_CLAUSE_UNSUPPORTED', 'SELECT id FROM «other.public.tasks»'],
  // Select list
  ['RULES_SELECT_UNSUPPORTED', 'SELECT id, «lower(title)» FROM tasks'],
  ['RULES_SELECT_UNSUPPORTED', 'SELECT id, «team_id + 1» FROM tasks'],
  ['RULES_SELECT_UNSUPPORTED', "SELECT id, «'x'» FROM tasks"],
  ['RULES_SELECT_UNSUPPORTED', 'SELECT id, «title::text» FROM tasks'],
  ['RULES_SELECT_UNSUPPORTED', 'SELECT id, «count»(*) FROM tasks'],
  ['RULES_COLUMN_UNKNOWN', 'SELECT id, «titel» FROM tasks'],
  ['RULES_COLUMN_UNKNOWN', 'SELECT id, «"Title"» FROM tasks'],
  ['RULES_COLUMN_UNKNOWN', 'SELECT id, «xmin» FROM tasks'],
  ['RULES_COLUMN_DUPLICATE', 'SELECT id, title, «title» FROM tasks'],
  ['RULES_COLUMN_DUPLICATE', 'SELECT id, title, «status» AS "TITLE" FROM tasks'],
  ['RULES_COLUMN_GENERATED', 'SELECT id, «twice» FROM with_generated'],
  ['RULES_COLUMN_GENERATED', 'SELECT id FROM with_generated WHERE «twice» = 2'],
  ['RULES_KEY_NOT_SELECTED', 'SELECT «title, status» FROM tasks'],
  ['RULES_KEY_NOT_SELECTED', 'SELECT «a» FROM pair_key'],
  ['RULES_KEY_UNSUPPORTED', 'SELECT «*» FROM float_key'],
  ['RULES_NAME_INVALID', 'SELECT id, «title» AS "sqlite_title" FROM tasks'],
  // Tables
  ['RULES_TABLE_UNKNOWN', 'SELECT * FROM «taks»'],
  ['RULES_TABLE_UNKNOWN', 'SELECT * FROM «"Tasks"»'],
  ['RULES_TABLE_UNKNOWN', 'SELECT * FROM «orders»'],
  ['RULES_TABLE_UNKNOWN', 'SELECT «x.id» FROM tasks t'],
  ['RULES_TABLE_UNKNOWN', 'SELECT «tasks.id» FROM tasks t'],
  ['RULES_TABLE_UNKNOWN', 'SELECT «x.*» FROM tasks'],
  ['RULES_TABLE_UNSUPPORTED', 'SELECT * FROM «a_view»'],
  ['RULES_TABLE_UNSUPPORTED', 'SELECT * FROM «a_foreign»'],
  ['RULES_TABLE_UNSUPPORTED', 'SELECT * FROM «parts_2024»'],
  ['RULES_TABLE_UNSUPPORTED', 'SELECT * FROM «half_logged»'],
  ['RULES_TABLE_UNSUPPORTED', 'SELECT * FROM «scratch»'],
  ['RULES_TABLE_UNSUPPORTED', 'SELECT * FROM «animals»'],
  ['RULES_TABLE_NO_KEY', 'SELECT * FROM «no_key»'],
  // Conditions
  ['RULES_CONDITION_UNSUPPORTED', "SELECT id FROM tasks WHERE «title LIKE 'a%'»"],
  ['RULES_CONDITION_UNSUPPORTED', "SELECT id FROM tasks WHERE «title ILIKE 'a%'»"],
  ['RULES_CONDITION_UNSUPPORTED', "SELECT id FROM tasks WHERE «title ~ '^(a+)+$'»"],
  ['RULES_CONDITION_UNSUPPORTED', 'SELECT id FROM tasks WHERE «team_id > 5»'],
  ['RULES_CONDITION_UNSUPPORTED', 'SELECT id FROM tasks WHERE «team_id BETWEEN 1 AND 2»'],
  ['RULES_CONDITION_UNSUPPORTED', 'SELECT id FROM tasks WHERE «title IS DISTINCT FROM status»'],
  ['RULES_CONDITION_UNSUPPORTED', 'SELECT id FROM tasks WHERE «title = status»'],
  ['RULES_CONDITION_UNSUPPORTED', 'SELECT id FROM tasks WHERE «1 = 1»'],
  ['RULES_CONDITION_UNSUPPORTED', "SELECT id FROM tasks WHERE «auth.user_id() = auth.claim('x')»"],
  ['RULES_CONDITION_UNSUPPORTED', 'SELECT id FROM tasks WHERE «owner_id <> auth.user_id()»'],
  ['RULES_CONDITION_UNSUPPORTED', 'SELECT id FROM tasks WHERE NOT («owner_id = auth.user_id()»)'],
  ['RULES_CONDITION_UNSUPPORTED', 'SELECT id FROM tasks WHERE «auth.user_id()»'],
  ['RULES_CONDITION_UNSUPPORTED', 'SELECT id FROM tasks WHERE «auth.user_id() IS» NULL'],
  ['RULES_CONDITION_UNSUPPORTED', 'SELECT id FROM tasks WHERE «done IS» TRUE'],
  ['RULES_CONDITION_UNSUPPORTED', 'SELECT id FROM tasks WHERE «5»'],
  ['RULES_CONDITION_UNSUPPORTED', "SELECT id FROM tasks WHERE title = «title || 'x'»"],
  ['RULES_CONDITION_UNSUPPORTED', "SELECT id FROM tasks WHERE «doc -> 'a'» = '1'"],
  ['RULES_CONDITION_UNSUPPORTED', "SELECT id FROM tasks WHERE «title = ANY ('{a}')»"],
  ['RULES_CONDITION_UNSUPPORTED', 'SELECT id FROM tasks WHERE «CASE WHEN done THEN true» END'],
  ['RULES_CONDITION_UNSUPPORTED', 'SELECT id FROM tasks WHERE id = «$»1'],
  ['RULES_CONDITION_UNSUPPORTED', "SELECT id FROM tasks WHERE team_id IN (1, «auth.claim('x')»)"],
  ['RULES_FUNCTION_UNKNOWN', "SELECT id FROM tasks WHERE title = «lower('A')»"],
  ['RULES_FUNCTION_UNKNOWN', 'SELECT id FROM tasks WHERE owner_id = «auth.uid()»'],
  ['RULES_FUNCTION_UNKNOWN', 'SELECT id FROM tasks WHERE owner_id = «auth.claim()»'],
  ['RULES_FUNCTION_UNKNOWN', 'SELECT id FROM tasks WHERE owner_id = «auth.claim(title)»'],
  ['RULES_FUNCTION_UNKNOWN', "SELECT id FROM tasks WHERE owner_id = «auth.user_id('x')»"],
  ['RULES_FUNCTION_UNKNOWN', "SELECT id FROM tasks WHERE owner_id = «auth.parameter('x')»"],
  ['RULES_FUNCTION_UNKNOWN', 'SELECT id FROM tasks WHERE title = «current_user»'],
  // Types whose equality is not equality of bytes
  ['RULES_COMPARISON_UNSUPPORTED', 'SELECT id FROM tasks WHERE «price» = 1'],
  ['RULES_COMPARISON_UNSUPPORTED', 'SELECT id FROM tasks WHERE «score» = 1'],
  ['RULES_COMPARISON_UNSUPPORTED', "SELECT id FROM tasks WHERE «code» = 'a'"],
  ['RULES_COMPARISON_UNSUPPORTED', "SELECT id FROM tasks WHERE «nick» = 'a'"],
  ['RULES_COMPARISON_UNSUPPORTED', "SELECT id FROM tasks WHERE «folded» = 'a'"],
  ['RULES_COMPARISON_UNSUPPORTED', 'SELECT id FROM tasks WHERE «folded» = auth.user_id()'],
  ['RULES_COMPARISON_UNSUPPORTED', "SELECT id FROM tasks WHERE «deleted_at» = '2024-01-01'"],
  ['RULES_COMPARISON_UNSUPPORTED', "SELECT id FROM tasks WHERE «doc» = '{}'"],
  ['RULES_COMPARISON_UNSUPPORTED', 'SELECT id FROM tasks WHERE «title»'],
  ['RULES_COMPARISON_UNSUPPORTED', "SELECT id FROM tasks WHERE «done»::text = 'true'"],
  ['RULES_COMPARISON_UNSUPPORTED', "SELECT id FROM tasks WHERE title = «'a'::char(3)»"],
  ['RULES_COMPARISON_UNSUPPORTED', "SELECT id FROM tasks WHERE owner_id = «auth.claim('x')»::int"],
  ['RULES_COMPARISON_UNSUPPORTED', "SELECT id FROM tasks WHERE team_id = «auth.claim('x')»::int2"],
  ['RULES_COMPARISON_UNSUPPORTED', 'SELECT id FROM tasks WHERE team_id = «1.5»'],
  ['RULES_COMPARISON_UNSUPPORTED', "SELECT id FROM tasks WHERE «auth.claim('x')» IN ('a', 1)"],
  ['RULES_CONSTANT_INVALID', 'SELECT id FROM tasks WHERE title = «5»'],
  ['RULES_CONSTANT_INVALID', "SELECT id FROM tasks WHERE team_id = «'x'»"],
  ['RULES_CONSTANT_INVALID', "SELECT id FROM tasks WHERE team_id = «'1.0'»"],
  ['RULES_CONSTANT_INVALID', 'SELECT id FROM tasks WHERE team_id = «2147483648»'],
  ['RULES_CONSTANT_INVALID', "SELECT id FROM tasks WHERE owner_id = «'me'»"],
  ['RULES_CONSTANT_INVALID', 'SELECT id FROM tasks WHERE done = «1»'],
  ['RULES_CONSTANT_INVALID', "SELECT id FROM tasks WHERE done = «'maybe'»"],
  ['RULES_CONSTANT_INVALID', "SELECT id FROM tasks WHERE auth.claim('n') = «9007199254740993»"],
  ['RULES_NULL_COMPARISON', 'SELECT id FROM tasks WHERE title = «NULL»'],
  ['RULES_NULL_COMPARISON', "SELECT id FROM tasks WHERE title NOT IN ('a', «NULL»)"],
  ['RULES_NULL_COMPARISON', "SELECT id FROM tasks WHERE auth.claim('x') = «NULL»"],
  ['RULES_NEVER_TRUE', '«SELECT id FROM tasks WHERE done AND NOT TRUE»'],
  ['RULES_NEVER_TRUE', '«SELECT id FROM tasks WHERE FALSE»'],
  // Subqueries
  ['RULES_SUBQUERY_UNSUPPORTED', 'SELECT id FROM tasks WHERE «EXISTS (SELECT 1)»'],
  [
    'RULES_SUBQUERY_UNSUPPORTED',
    'SELECT id FROM tasks WHERE «team_id» NOT IN (SELECT team_id FROM team_members WHERE user_id = auth.user_id())',
  ],
  [
    'RULES_SUBQUERY_UNSUPPORTED',
    'SELECT id FROM tasks WHERE NOT («team_id» IN (SELECT team_id FROM team_members WHERE user_id = auth.user_id()))',
  ],
  [
    'RULES_SUBQUERY_UNSUPPORTED',
    'SELECT id FROM tasks WHERE «auth.user_id()» IN (SELECT user_id FROM team_members WHERE user_id = auth.user_id())',
  ],
  ['RULES_SUBQUERY_UNSUPPORTED', 'SELECT id FROM tasks WHERE team_id IN (SELECT «team_id FROM team_members»)'],
  [
    'RULES_SUBQUERY_UNSUPPORTED',
    "SELECT id FROM tasks WHERE team_id IN (SELECT «team_id FROM team_members WHERE role = 'x'»)",
  ],
  [
    'RULES_SUBQUERY_UNSUPPORTED',
    "SELECT id FROM tasks WHERE team_id IN (SELECT «team_id FROM team_members WHERE user_id = auth.user_id() OR role = 'x'»)",
  ],
  [
    'RULES_SUBQUERY_UNSUPPORTED',
    'SELECT id FROM tasks WHERE team_id IN (SELECT «team_id, user_id FROM team_members WHERE user_id = auth.user_id()»)',
  ],
  [
    'RULES_SUBQUERY_UNSUPPORTED',
    'SELECT id FROM tasks WHERE team_id IN (SELECT «* FROM team_members WHERE user_id = auth.user_id()»)',
  ],
  [
    'RULES_SUBQUERY_UNSUPPORTED',
    'SELECT id FROM tasks WHERE team_id IN (SELECT team_id FROM team_members WHERE user_id = «owner_id»)',
  ],
  [
    'RULES_SUBQUERY_UNSUPPORTED',
    'SELECT id FROM tasks WHERE team_id IN (SELECT team_id FROM team_members m WHERE user_id = auth.user_id() AND «tasks.done»)',
  ],
  [
    'RULES_SUBQUERY_UNSUPPORTED',
    'SELECT id FROM tasks WHERE team_id IN (SELECT team_id FROM team_members WHERE user_id IN (SELECT «id FROM tasks WHERE owner_id = auth.user_id()»))',
  ],
  [
    'RULES_CLAUSE_UNSUPPORTED',
    'SELECT id FROM tasks WHERE team_id IN (SELECT team_id FROM team_members WHERE user_id = auth.user_id() LIMIT «1»)',
  ],
  ['RULES_TABLE_NO_KEY', 'SELECT id FROM tasks WHERE team_id IN (SELECT id FROM «no_key» WHERE id = auth.user_id())'],
  [
    'RULES_COMPARISON_UNSUPPORTED',
    'SELECT id FROM tasks WHERE owner_id IN (SELECT «team_id» FROM team_members WHERE user_id = auth.user_id())',
  ],
  [
    'RULES_COMPARISON_UNSUPPORTED',
    'SELECT id FROM tasks WHERE title IN (SELECT «mood» FROM team_members WHERE user_id = auth.user_id())',
  ],
  [
    'RULES_COMPARISON_UNSUPPORTED',
    'SELECT id FROM tasks WHERE mood IN (SELECT «role» FROM team_members WHERE user_id = auth.user_id())',
  ],
];

describe('L17: what cannot be evaluated exactly is refused where it stands', () => {
  test.each(refused)('%s: %s', async (code, query) => {
    const { yaml, ...place } = marked(oneStream(query));
    const result = await parseAndCompile(yaml, catalog);
    expect(result.kind === 'invalid' && result.diagnostics[0]).toMatchObject({ code, ...place });
  });

  test('every diagnostic has a catalogued code, a message and a hint', async () => {
    for (const [, query] of refused) {
      const result = await parseAndCompile(marked(oneStream(query)).yaml, catalog);
      for (const diagnostic of result.kind === 'invalid' ? result.diagnostics : []) {
        expect(isCode(diagnostic.code)).toBe(true);
        expect(diagnostic.message).toMatch(/\S.*[.!]$/);
        expect(diagnostic.hint).toMatch(/\S/);
      }
    }
  });
});

test('all problems of a file are reported at once, in its order', async () => {
  const yaml = [
    'version: 1',
    'streams:',
    '  b: { query: "SELECT * FROM nowhere" }',
    '  a:',
    '    query: SELECT id, nope, nada FROM tasks WHERE price = 1 OR nick = auth.user_id()',
  ].join('\n');
  const result = await parseAndCompile(yaml, catalog);
  expect(result.kind === 'invalid' && result.diagnostics.map(({ code, line, column }) => [code, line, column])).toEqual(
    [
      ['RULES_TABLE_UNKNOWN', 3, 30],
      ['RULES_COLUMN_UNKNOWN', 5, 23],
      ['RULES_COLUMN_UNKNOWN', 5, 29],
      ['RULES_COMPARISON_UNSUPPORTED', 5, 51],
      ['RULES_COMPARISON_UNSUPPORTED', 5, 64],
    ],
  );
});

test.each([
  ['SELECT * FROM taks', 'tasks'],
  ['SELECT * FROM orders', 'shop.orders'],
  ['SELECT id, titel FROM tasks', 'title'],
  [
    'SELECT id FROM tasks WHERE team_id IN (SELECT taem_id FROM team_members WHERE user_id = auth.user_id())',
    'team_id',
  ],
  ['SELECT id FROM tasks WHERE owner_id = auth.uid()', 'auth.user_id()'],
  ["SELECT id FROM tasks WHERE auth.jwt() ->> 'role' = 'x'", "auth.claim('a', 'b')"],
])('a hint says what was probably meant: %s', async (query, meant) => {
  const result = await parseAndCompile(oneStream(query), catalog);
  expect(result.kind === 'invalid' && result.diagnostics[0]?.hint).toContain(meant);
});

describe('positions are those of the file, however the query stands in it', () => {
  test.each([
    [
      'literal block',
      'version: 1\nstreams:\n  s:\n    query: |\n      SELECT id,\n        «titel»\n      FROM tasks\n',
    ],
    ['block with a header', 'version: 1\nstreams:\n  s:\n    query: |2- # sql\n       SELECT «titel» FROM tasks\n'],
    [
      'folded block',
      'version: 1\nstreams:\n  s:\n    query: >-\n      SELECT id,\n\n      «titel»\n      FROM tasks\n',
    ],
    ['plain', 'version: 1\nstreams:\n  s:\n    query: SELECT «titel» FROM tasks\n'],
    ['plain over lines', 'version: 1\nstreams:\n  s:\n    query: SELECT id,\n      «titel»\n      FROM tasks\n'],
    [
      'single quotes',
      "version: 1\nstreams:\n  s:\n    query: 'SELECT id FROM tasks WHERE status = ''a'' AND «titel»'\n",
    ],
    [
      'double quotes',
      'version: 1\nstreams:\n  s:\n    query: "SELECT \\"id\\",\\n\\t\\x20\\u0020«titel» FROM tasks"\n',
    ],
    [
      'double quotes over lines',
      'version: 1\nstreams:\n  s:\n    query: "SELECT id, \\\n      «titel»\n      FROM tasks"\n',
    ],
    ['flow map', '{version: 1, streams: {s: {query: "SELECT «titel» FROM tasks"}}}\n'],
    [
      'CRLF',
      'version: 1\r\nstreams:\r\n  s:\r\n    query: |\r\n      SELECT id,\r\n        «titel»\r\n      FROM tasks\r\n',
    ],
    ['after emoji', 'version: 1\nstreams:\n  s:\n    query: |\n      SELECT id, /* 😀 ünï */ «titel» FROM tasks\n'],
    ['escaped emoji', 'version: 1\nstreams:\n  s:\n    query: "SELECT id, /* \\U0001F600 é */ «titel» FROM tasks"\n'],
    [
      'after a comment and a byte order mark',
      '\uFEFF# 😀\nversion: 1\nstreams:\n  s:\n    query: SELECT «titel» FROM tasks',
    ],
  ])('%s', async (_, text) => {
    const { yaml, ...place } = marked(text);
    const result = await parseAndCompile(yaml, catalog);
    expect(result.kind === 'invalid' && result.diagnostics[0]).toMatchObject({
      code: 'RULES_COLUMN_UNKNOWN',
      ...place,
    });
  });
});

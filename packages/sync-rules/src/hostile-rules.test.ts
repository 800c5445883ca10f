import { describe, expect, test } from 'vitest';
import { catalog } from './catalog.fixture.ts';
import { marked, oneStream } from './marked-rules.fixture.ts';
import { parseAndCompile } from './parse-and-compile.ts';

const K = 256 * 1024 - 100;

/** Files that would cost a naive reader its stack, its memory or minutes. */
const bombs: readonly (readonly [what: string, text: string, code: string])[] = [
  ['too many bytes', `# ${'x'.repeat(K + 200)}`, 'RULES_TOO_LARGE'],
  ['too many bytes of UTF-8', `# ${'é'.repeat(K / 2 + 100)}`, 'RULES_TOO_LARGE'],
  ['alias bomb', `a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n`, 'RULES_YAML_UNSUPPORTED'],
  ['open brackets', '['.repeat(K), 'RULES_YAML_UNSUPPORTED'],
  ['open braces', '{a: '.repeat(K / 4), 'RULES_YAML_UNSUPPORTED'],
  ['nested lists', '- '.repeat(K / 2), 'RULES_YAML_UNSUPPORTED'],
  ['explicit keys', '? '.repeat(K / 2), 'RULES_YAML_UNSUPPORTED'],
  ['tags', '!!x '.repeat(K / 4), 'RULES_YAML_UNSUPPORTED'],
  ['a tag that builds objects', 'version: !!js/function "x"', 'RULES_YAML_UNSUPPORTED'],
  ['aliases', '*a '.repeat(K / 3), 'RULES_YAML_UNSUPPORTED'],
  ['directives', '%YAML 1.2\n'.repeat(K / 10), 'RULES_YAML_UNSUPPORTED'],
  ['keys', Array.from({ length: 30_000 }, (_, i) => `k${i}:`).join('\n'), 'RULES_TOO_LARGE'],
  ['empty keys', ':\n'.repeat(K / 2), 'RULES_TOO_LARGE'],
  ['newlines', '\n'.repeat(K), 'RULES_TOO_LARGE'],
  ['documents', '---\n'.repeat(10), 'RULES_YAML_UNSUPPORTED'],
  ['nested maps', Array.from({ length: 600 }, (_, i) => `${' '.repeat(i)}a:`).join('\n'), 'RULES_SHAPE_INVALID'],
  ['a NUL', 'version: 1\0', 'RULES_YAML_INVALID'],
  ['half of a surrogate pair', 'version: "\ud800"', 'RULES_YAML_INVALID'],
  [
    'an escape for half of a surrogate pair',
    oneStream('').replace('|\n      \n', '"SELECT \\uD800"'),
    'RULES_YAML_INVALID',
  ],
  ['an escaped NUL', 'version: 1\nstreams: {s: {query: "SELECT id FROM tasks\\0 garbage"}}', 'RULES_YAML_INVALID'],
  ['tabs as indentation', 'version: 1\nstreams:\n\ts: {}', 'RULES_YAML_INVALID'],
  ['an unclosed quote', `version: "${'\\'.repeat(K)}`, 'RULES_YAML_INVALID'],
  ['a long query', oneStream(`SELECT ${'x'.repeat(9000)}`), 'RULES_TOO_LARGE'],
  ['parentheses', oneStream(`SELECT id FROM tasks WHERE ${'('.repeat(3900)}done${')'.repeat(3900)}`), ''],
  ['NOTs', oneStream(`SELECT id FROM tasks WHERE ${'NOT '.repeat(2000)}done`), 'RULES_CONDITION_UNSUPPORTED'],
  ['minus signs', oneStream(`SELECT id FROM tasks WHERE team_id = ${'- '.repeat(3900)}1`), ''],
  ['casts', oneStream(`SELECT id FROM tasks WHERE title${'::text'.repeat(1200)} = 'a'`), 'RULES_CONDITION_UNSUPPORTED'],
  [
    'subqueries',
    oneStream(
      `SELECT id FROM tasks WHERE id IN ${'(SELECT id FROM tasks WHERE id IN '.repeat(50)}(SELECT 1)${')'.repeat(50)}`,
    ),
    'RULES_SUBQUERY_UNSUPPORTED',
  ],
  [
    'a product of alternatives',
    oneStream(`SELECT id FROM tasks WHERE ${Array.from({ length: 100 }, () => "(done OR title = 'a')").join(' AND ')}`),
    'RULES_TOO_MANY_BRANCHES',
  ],
  [
    'a long IN list',
    oneStream(`SELECT id FROM tasks WHERE team_id IN (${Array.from({ length: 300 }, (_, i) => i).join()})`),
    'RULES_TOO_MANY_BRANCHES',
  ],
  [
    'many conditions',
    oneStream(`SELECT id FROM tasks WHERE ${Array.from({ length: 40 }, (_, i) => `team_id <> ${i}`).join(' AND ')}`),
    'RULES_TOO_MANY_BRANCHES',
  ],
  [
    'many memberships',
    oneStream(
      `SELECT id FROM tasks WHERE ${Array.from({ length: 5 }, (_, i) => `team_id IN (SELECT team_id FROM team_members WHERE role = '${i}' AND user_id = auth.user_id())`).join(' AND ')}`,
    ),
    'RULES_TOO_MANY_BRANCHES',
  ],
  [
    'too many streams',
    `version: 1\nstreams:\n${Array.from({ length: 201 }, (_, i) => `  s${i}: { query: SELECT * FROM tasks }`).join('\n')}`,
    'RULES_TOO_LARGE',
  ],
];

describe('L16: a hostile file ends in a code, soon', () => {
  test.each(bombs)('%s', async (_, text, code) => {
    const started = performance.now();
    const result = await parseAndCompile(text, catalog);
    // Generous for a loaded machine; the point is that nothing takes seconds.
    expect(performance.now() - started).toBeLessThan(1000);
    if (code !== '') expect(result.kind === 'invalid' && result.diagnostics[0]?.code).toBe(code);
  });

  test('any prefix of a valid file is read or refused, never thrown at', async () => {
    const text = `version: 1\nstreams:\n  "s": # c\n    query: >-\n      SELECT "id" FROM tasks\n      WHERE done\n    table: 'x'\n`;
    for (let length = 0; length <= text.length; length++) {
      const result = await parseAndCompile(text.slice(0, length), catalog);
      if (result.kind === 'invalid') expect(result.diagnostics.length).toBeGreaterThan(0);
    }
  });
});

describe('the shape of the file', () => {
  test.each([
    ['RULES_SHAPE_INVALID', '«»'],
    ['RULES_SHAPE_INVALID', '«just text»'],
    ['RULES_SHAPE_INVALID', '«»streams: { s: { query: SELECT * FROM tasks } }'],
    ['RULES_SHAPE_INVALID', 'version: «2»\nstreams: { s: { query: SELECT * FROM tasks } }'],
    ['RULES_SHAPE_INVALID', 'version: «1.0»\nstreams: { s: { query: SELECT * FROM tasks } }'],
    ['RULES_SHAPE_INVALID', '«»version: 1'],
    ['RULES_SHAPE_INVALID', 'version: 1\nstreams: «{}»'],
    ['RULES_SHAPE_INVALID', 'version: 1\nstreams: «text»'],
    ['RULES_SHAPE_INVALID', 'version: 1\n«bucket_definitions»: {}\nstreams: { s: { query: SELECT * FROM tasks } }'],
    ['RULES_SHAPE_INVALID', 'version: 1\n«__proto__»: {}\nstreams: { s: { query: SELECT * FROM tasks } }'],
    ['RULES_SHAPE_INVALID', 'version: 1\n«<<»: {}\nstreams: { s: { query: SELECT * FROM tasks } }'],
    ['RULES_SHAPE_INVALID', 'version: 1\nstreams:\n  s: { query: SELECT * FROM tasks, «priority»: 1 }'],
    ['RULES_SHAPE_INVALID', 'version: 1\nstreams:\n  s: { query: SELECT * FROM tasks, «query»: SELECT 1 }'],
    [
      'RULES_SHAPE_INVALID',
      'version: 1\nstreams:\n  s: { query: SELECT * FROM tasks }\n  «s»: { query: SELECT * FROM tasks }',
    ],
    ['RULES_SHAPE_INVALID', 'version: 1\nstreams:\n  s: «»{ table: x }'],
    ['RULES_SHAPE_INVALID', 'version: 1\nstreams:\n  s: «SELECT * FROM tasks»'],
    ['RULES_SHAPE_INVALID', 'version: 1\nstreams:\n  s: { query: «{}» }'],
    ['RULES_SHAPE_INVALID', 'version: 1\nstreams:\n  s: { «query»: "" }'],
    ['RULES_NAME_INVALID', 'version: 1\nstreams:\n  «"a b"»: { query: SELECT * FROM tasks }'],
    ['RULES_NAME_INVALID', 'version: 1\nstreams:\n  «über»: { query: SELECT * FROM tasks }'],
    ['RULES_NAME_INVALID', 'version: 1\nstreams:\n  s: { query: SELECT * FROM tasks, table: «sqlite_x» }'],
    ['RULES_NAME_INVALID', 'version: 1\nstreams:\n  s: { query: SELECT * FROM tasks, table: «"a\\u202Eb"» }'],
    ['RULES_NAME_INVALID', `version: 1\nstreams:\n  s: { query: SELECT * FROM tasks, table: «${'é'.repeat(32)}» }`],
  ])('%s: %s', async (code, text) => {
    const { yaml, ...place } = marked(text);
    const result = await parseAndCompile(yaml, catalog);
    expect(result.kind === 'invalid' && result.diagnostics[0]).toMatchObject({ code, ...place });
  });

  test('a stream may be called no, and a table 1', async () => {
    const result = await parseAndCompile('version: 1\nstreams: {no: {query: SELECT * FROM tasks, table: 1}}', catalog);
    expect(result).toMatchObject({ kind: 'ok', rules: { streams: [{ name: 'no', table: { name: '1' } }] } });
  });
});

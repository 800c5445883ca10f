import { isCode } from '@sluice/errors';
import { describe, expect, test } from 'vitest';
import { catalog, column, table } from './catalog.fixture.ts';
import { marked } from './marked-rules.fixture.ts';
import { parseAndCompile } from './parse-and-compile.ts';
import type { Catalog } from './plan.ts';
import { WRITES_TABLES_SQL } from './writes-tables.ts';

const ours = { schema: 'sluice' };
const withTables: Catalog = {
  tables: [
    ...catalog.tables,
    table(
      'client',
      [column('project', 'text'), column('client_id', 'uuid'), column('subject', 'text'), column('seq', 'bigint')],
      { ...ours, primaryKey: ['project', 'client_id'] },
    ),
    table(
      'refusal',
      [
        column('project', 'text'),
        column('client_id', 'uuid'),
        column('seq', 'bigint'),
        column('subject', 'text'),
        column('code', 'text'),
        column('reason', 'text'),
      ],
      { ...ours, primaryKey: ['project', 'client_id', 'seq'] },
    ),
  ],
};
const STREAMS = `version: 1
streams:
  mine: { query: "SELECT id, title AS name FROM tasks WHERE owner_id = auth.user_id()", table: todos }
  pairs: { query: SELECT * FROM pair_key }
`;
const compile = (writes: string, source = withTables) => parseAndCompile(STREAMS + writes, source);

async function rulesOf(writes: string) {
  const result = await compile(writes);
  if (result.kind !== 'ok') throw new Error(JSON.stringify(result.diagnostics));
  return result.rules;
}

describe('what clients may write', () => {
  test('tables are named as clients know them, and compiled to those of the source', async () => {
    const { writes } = await rulesOf(
      'writes:\n  role: app_user\n  tables:\n    todos: { policy: server-wins }\n    pair_key: {}\n',
    );
    expect(writes?.role).toBe('app_user');
    expect(writes?.tables.map(({ policy, source }) => [policy, source.name])).toEqual([
      ['server-wins', 'tasks'],
      ['merge', 'pair_key'],
    ]);
    const [todos, pairs] = writes?.tables ?? [];
    expect(todos?.table.columns.map(({ name, source, pgType }) => [name, source.name, pgType])).toEqual([
      ['id', 'id', 'uuid'],
      ['name', 'title', 'text'],
    ]);
    expect(pairs?.table).toMatchObject({ keyColumns: 2, columns: [{ name: 'a' }, { name: 'b' }, { name: 'note' }] });
  });

  test('L15: acknowledgements and refusals are streams of the user alone', async () => {
    const { streams, tables } = await rulesOf('writes: { role: r, tables: { todos: {} } }');
    const added = streams.filter(({ name }) => name.startsWith('sluice_'));
    expect(
      added.map(({ name, table: client }) => [name, client.name, client.columns.map((each) => each.name)]),
    ).toEqual([
      ['sluice_client', 'sluice_client', ['project', 'client_id', 'seq']],
      ['sluice_refusal', 'sluice_refusal', ['project', 'client_id', 'seq', 'code', 'reason']],
    ]);
    for (const { buckets } of added)
      expect(buckets).toMatchObject([
        { params: [{ column: { name: 'subject' }, from: { kind: 'claim', claim: { path: ['sub'] } } }] },
      ]);
    expect(tables.filter(({ schema }) => schema === 'sluice')).toHaveLength(2);
  });

  test('L11: with or without writes, the streams of the tenant stay what they are', async () => {
    const [without, withWrites] = [await rulesOf(''), await rulesOf('writes: { role: r, tables: { todos: {} } }')];
    expect(without).not.toHaveProperty('writes');
    expect(withWrites.streams.slice(0, 2)).toEqual(without.streams);
  });

  test.each([
    ['RULES_SHAPE_INVALID', 'writes: «yes»\n'],
    ['RULES_SHAPE_INVALID', 'writes:\n  «»tables: { todos: {} }\n'],
    ['RULES_SHAPE_INVALID', 'writes:\n  «»role: r\n'],
    ['RULES_SHAPE_INVALID', 'writes: { role: r, tables: { todos: {} }, «rolle»: x }\n'],
    ['RULES_SHAPE_INVALID', 'writes: { role: r, tables: «{}» }\n'],
    ['RULES_SHAPE_INVALID', 'writes: { role: r, tables: { todos: «merge» } }\n'],
    ['RULES_SHAPE_INVALID', 'writes: { role: r, tables: { todos: { «mode»: merge } } }\n'],
    ['RULES_SHAPE_INVALID', 'writes: { role: r, tables: { todos: {}, «todos»: {} } }\n'],
    ['RULES_SHAPE_INVALID', 'writes: { role: r, tables: { todos: {} } }\n«writes»: {}\n'],
    ['RULES_NAME_INVALID', 'writes: { role: «""», tables: { todos: {} } }\n'],
    ['RULES_NAME_INVALID', 'writes: { role: «None», tables: { todos: {} } }\n'],
    ['RULES_WRITES_POLICY_UNKNOWN', 'writes: { role: r, tables: { todos: { policy: «last-wins» } } }\n'],
    ['RULES_WRITES_TABLE_UNKNOWN', 'writes: { role: r, tables: { «todoes»: {} } }\n'],
    ['RULES_WRITES_TABLE_UNKNOWN', 'writes: { role: r, tables: { «tasks»: {} } }\n'],
    ['RULES_WRITES_TABLE_UNKNOWN', 'writes: { role: r, tables: { «sluice_client»: {} } }\n'],
  ])('L17: %s where it stands: %s', async (code, text) => {
    const { yaml, ...place } = marked(STREAMS + text);
    const result = await parseAndCompile(yaml, withTables);
    expect(result.kind === 'invalid' && result.diagnostics).toMatchObject([{ code, ...place }]);
    for (const { code: each, message, hint } of result.kind === 'invalid' ? result.diagnostics : []) {
      expect(isCode(each)).toBe(true);
      expect(message).toMatch(/\S.*[.!]$/);
      expect(hint).toMatch(/\S/);
    }
  });

  test('without our tables at the source the diagnostic shows the SQL that makes them', async () => {
    const { yaml, ...place } = marked(`${STREAMS}«writes»: { role: r, tables: { todos: {} } }`);
    const result = await parseAndCompile(yaml, catalog);
    expect(result.kind === 'invalid' && result.diagnostics).toMatchObject([
      { code: 'RULES_WRITES_TABLES_MISSING', ...place },
    ]);
    expect(result.kind === 'invalid' && result.diagnostics[0]?.hint).toContain(WRITES_TABLES_SQL);
  });

  test('a stream that is refused does not make its table unknown as well', async () => {
    const yaml =
      'version: 1\nstreams: { s: { query: SELECT nope FROM tasks } }\nwrites: { role: r, tables: { tasks: {} } }';
    const result = await parseAndCompile(yaml, withTables);
    expect(result.kind === 'invalid' && result.diagnostics.map(({ code }) => code)).toEqual(['RULES_COLUMN_UNKNOWN']);
  });

  test('names that begin with `sluice_` are ours', async () => {
    const result = await parseAndCompile('version: 1\nstreams: { sluice_x: { query: SELECT * FROM tasks } }', catalog);
    expect(result.kind === 'invalid' && result.diagnostics).toMatchObject([{ code: 'RULES_NAME_INVALID', line: 2 }]);
  });
});

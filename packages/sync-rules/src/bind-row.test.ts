import { ByteReader, ByteWriter, readCell } from '@sluice/domain';
import { isAppError } from '@sluice/errors';
import { describe, expect, test } from 'vitest';
import { bindMembership } from './bind-membership.ts';
import { type BoundStream, bindRow } from './bind-row.ts';
import { catalog, column, table } from './catalog.fixture.ts';
import { compiledStream } from './compiled.fixture.ts';
import type { StreamPlan } from './plan.ts';
import { relationOf, tupleOf } from './tuple.fixture.ts';
import type { RelationLike } from './tuple.ts';

const tableNamed = (name: string) => catalog.tables.find((candidate) => candidate.name === name) ?? expect.fail();

function bound(plan: StreamPlan, relation: RelationLike = relationOf(tableNamed(plan.sourceTable.name))): BoundStream {
  const result = bindRow(plan, relation);
  return result.kind === 'bound' ? result : expect.fail(JSON.stringify(result));
}

function cellsOf(bytes: Uint8Array): readonly unknown[] {
  const reader = new ByteReader(bytes);
  const cells: unknown[] = [];
  while (reader.remaining > 0) cells.push(readCell(reader));
  return cells;
}

function bucketsOf(stream: BoundStream, texts: readonly (string | null)[]): readonly (readonly [number, string])[] {
  const { src, slots } = tupleOf(texts);
  const found: (readonly [number, string])[] = [];
  stream.bucketKeys(src, slots, (disjunct, key) => found.push([disjunct, key]));
  return found;
}

describe('encoding a row', () => {
  test('L6, L8: the key comes first in key order, whatever the order of the table; its length is told', async () => {
    const stream = bound(await compiledStream('SELECT note, b, a FROM pair_key'));
    const { src, slots } = tupleOf(['note', '7', 'ä']);
    const out = new ByteWriter(1);
    out.u8(0xaa);
    const keyBytes = stream.encodeRow(src, slots, out);
    expect(cellsOf(out.take().subarray(1))).toEqual(['ä', 7, 'note']);
    expect(cellsOf(out.take().subarray(1, 1 + keyBytes))).toEqual(['ä', 7]);
  });

  test('NULL, booleans, domains and columns in another order than at compile time', async () => {
    const plan = await compiledStream('SELECT id, done, email, score FROM tasks');
    const { columns } = relationOf(tableNamed('tasks'));
    const stream = bound(plan, { columns: [column('new', 'text'), ...columns.toReversed()] });
    const texts = [
      'x',
      ...columns.map(({ name }) => ({ id: 'u', done: 't', email: 'e@x', score: null })[name] ?? null).reverse(),
    ];
    const out = new ByteWriter();
    const { src, slots } = tupleOf(texts);
    stream.encodeRow(src, slots, out);
    expect(cellsOf(out.take())).toEqual(['u', 1, 'e@x', null]);
  });

  test('a value that is not of its type is a typed error and leaves the buffer as it was', async () => {
    const stream = bound(await compiledStream('SELECT note, b, a FROM pair_key'));
    const { src, slots } = tupleOf(['note', 'seven', 'a']);
    const out = new ByteWriter();
    out.u8(1);
    expect(() => stream.encodeRow(src, slots, out)).toThrow(
      expect.toSatisfy((error) => isAppError(error, 'SOURCE_VALUE')),
    );
    expect(out.length).toBe(1);
  });

  test('L7, L17: a value that was left out of the message, or a tuple of another width, stops the unit of work', async () => {
    const stream = bound(await compiledStream("SELECT note, b, a FROM pair_key WHERE note = 'x'"));
    const { src, slots } = tupleOf(['note', '7', 'a']);
    const unchanged = { ...slots, kind: Uint8Array.from(slots.kind, (kind, i) => (i === 0 ? 117 : kind)) };
    for (const broken of [unchanged, { ...slots, count: 2 }]) {
      expect(() => stream.encodeRow(src, broken, new ByteWriter())).toThrow('tuple');
      expect(() => stream.bucketKeys(src, broken, () => {})).toThrow('tuple');
    }
  });
});

describe('L11: a relation that is not the compiled one is told apart', () => {
  test('columns gone, retyped or of another length', async () => {
    const plan = await compiledStream('SELECT id, title, status FROM tasks WHERE done AND team_id = 1');
    const relation = {
      columns: relationOf(tableNamed('tasks'))
        .columns.filter(({ name }) => name !== 'title' && name !== 'done')
        .map((source) => (source.name === 'status' ? { ...source, typmod: 44 } : source))
        .map((source) => (source.name === 'team_id' ? { ...source, typeOid: 20 } : source)),
    };
    expect(bindRow(plan, relation)).toEqual({
      kind: 'mismatch',
      missing: ['title', 'done'],
      changed: ['status', 'team_id'],
    });
  });

  test('of a membership as well; columns that are not read may change', async () => {
    const plan = await compiledStream(
      'SELECT id FROM tasks WHERE team_id IN (SELECT team_id FROM team_members WHERE user_id = auth.user_id())',
    );
    const { columns } = relationOf(tableNamed('team_members'));
    expect(bindMembership(plan, 0, { columns: columns.filter(({ name }) => name !== 'role') }).kind).toBe('bound');
    expect(bindMembership(plan, 0, { columns: columns.filter(({ name }) => name !== 'user_id') })).toEqual({
      kind: 'mismatch',
      missing: ['user_id'],
      changed: [],
    });
  });
});

describe('the buckets of a row', () => {
  const columns = ['id', 'a', 'b', 'n', 'flag'];
  const source = {
    tables: [
      table('rows', [
        column('id', 'integer'),
        column('a', 'text'),
        column('b', 'text'),
        column('n', 'integer'),
        column('flag', 'bool'),
      ]),
    ],
  };
  const streamOf = async (where: string) => {
    const [rows] = source.tables;
    return bound(await compiledStream(`SELECT * FROM rows WHERE ${where}`, source), rows && relationOf(rows));
  };
  const row = (values: Record<string, string | null>) => columns.map((name) => values[name] ?? null);

  test('one for each disjunct that holds', async () => {
    const stream = await streamOf("a = auth.user_id() OR flag OR (n = 1 AND b = auth.claim('b'))");
    expect(
      bucketsOf(stream, row({ id: '1', a: 'x', flag: 't', n: '1', b: 'y' })).map(([disjunct]) => disjunct),
    ).toEqual([0, 1, 2]);
    expect(bucketsOf(stream, row({ id: '1', a: null, flag: null, n: '1', b: null }))).toEqual([]);
  });

  test('without parameters there is one bucket, the empty key', async () => {
    expect(bucketsOf(await streamOf('TRUE'), row({ id: '1' }))).toEqual([[0, '']]);
  });

  test('L13: different tuples of values never share a key', async () => {
    const stream = await streamOf("a = auth.claim('a') AND b = auth.claim('b')");
    const values = [
      '',
      '1',
      'true',
      'null',
      '"',
      'a',
      'ab',
      'b',
      'a","b',
      '\u00e9',
      'e\u0301',
      '\x01',
      '\x01\x01',
      'x'.repeat(300),
    ];
    const keys = values.flatMap((a) => values.map((b) => bucketsOf(stream, row({ id: '1', a, b }))[0]?.[1]));
    expect(new Set(keys).size).toBe(values.length ** 2);
  });

  test('values beyond 256 bytes stand as a hash: keys stay small, and equal for equal values alone', async () => {
    const stream = await streamOf('a = auth.user_id()');
    const keyOf = (a: string) => bucketsOf(stream, row({ id: '1', a }))[0]?.[1] ?? '';
    expect(keyOf('x'.repeat(100_000)).length).toBe(33);
    expect(keyOf('x'.repeat(100_000))).not.toBe(keyOf(`${'x'.repeat(99_999)}y`));
    expect(keyOf('x'.repeat(257))).not.toBe(keyOf('x'.repeat(256)));
  });

  test('many keys after one another do not disturb each other', async () => {
    const stream = await streamOf('a = auth.user_id()');
    const keyOf = (i: number) => bucketsOf(stream, row({ id: '1', a: `user-${i}` }))[0]?.[1];
    const first = Array.from({ length: 20_000 }, (_, i) => keyOf(i));
    expect(new Set(first).size).toBe(20_000);
    expect(Array.from({ length: 20_000 }, (_, i) => keyOf(i))).toEqual(first);
  });
});

describe('membership entries', () => {
  test('give lookup, value and the row that they come from', async () => {
    const plan = await compiledStream(
      'SELECT id FROM tasks WHERE team_id IN (SELECT team_id FROM team_members WHERE user_id = auth.user_id() AND left_at IS NULL)',
    );
    const members = bindMembership(plan, 0, relationOf(tableNamed('team_members')));
    if (members.kind !== 'bound') expect.fail();
    const entry = (texts: readonly (string | null)[]) => {
      const { src, slots } = tupleOf(texts);
      return members.entryOf(src, slots);
    };
    const user = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11';
    const found = entry(['5', '7', user, null, null, null]);
    expect(found && cellsOf(found.rowKey)).toEqual([5]);
    expect(found?.value).toBe('\x02\x017');
    expect(found?.lookupKey).toBe(`\x03\x24${user}`);
    expect(entry(['5', '7', user, null, null, '2024-01-01 00:00:00+00'])).toBeUndefined();
    expect(entry(['5', null, user, null, null, null])).toBeUndefined();
    expect(entry(['5', '7', null, null, null, null])).toBeUndefined();
  });
});

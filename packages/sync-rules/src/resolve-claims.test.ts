import { isAppError } from '@sluice/errors';
import { describe, expect, test } from 'vitest';
import { column, table } from './catalog.fixture.ts';
import { compiledStream } from './compiled.fixture.ts';
import { bucketKeysFrom, type ResolvedClaims, resolveClaims } from './resolve-claims.ts';

const source = {
  tables: [
    table('rows', [
      column('id', 'integer'),
      column('t', 'text'),
      column('n', 'integer'),
      column('u', 'uuid'),
      column('b', 'bool'),
    ]),
    table('members', [column('id', 'integer'), column('who', 'text'), column('n', 'integer')]),
  ],
};
const planOf = (where: string) => compiledStream(`SELECT * FROM rows WHERE ${where}`, source);
const UUID = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11';

async function keyOf(where: string, tokenClaims: unknown): Promise<string | undefined> {
  const keys = bucketKeysFrom(resolveClaims(await planOf(where), tokenClaims), () => []);
  return keys[0]?.key;
}

describe('L13: a claim reaches the bucket of an equal value and no other', () => {
  const claims: readonly unknown[] = [
    1,
    '1',
    '1.0',
    1.5,
    true,
    'true',
    null,
    'null',
    '',
    [],
    {},
    [1],
    { sub: 1 },
    '\u00e9',
    'e\u0301',
    'a","b',
  ];

  test('text: only strings, each its own', async () => {
    const keys = await Promise.all(claims.map((x) => keyOf("t = auth.claim('x')", { x })));
    const reached = keys.filter((key) => key !== undefined);
    expect(reached.length).toBe(claims.filter((claim) => typeof claim === 'string').length);
    expect(new Set(reached).size).toBe(reached.length);
  });

  test.each([
    ['n', 1, '\x02\x011'],
    ['n', '1', '\x02\x011'],
    ['n', '01', undefined],
    ['n', ' 1', undefined],
    ['n', '1.0', undefined],
    ['n', 1.5, undefined],
    ['n', 2 ** 53, undefined],
    ['n', true, undefined],
    ['n', -0, '\x02\x010'],
    ['u', UUID.toUpperCase(), `\x03\x24${UUID}`],
    ['u', `{${UUID}}`, undefined],
    ['u', 1, undefined],
    ['b', true, '\x04\x01t'],
    ['b', 'true', undefined],
    ['b', 1, undefined],
    ['t', '\ud800', undefined],
    ['t', 'a\0b', undefined],
    ['t', null, undefined],
  ])('%s = %j', async (name, x, key) => {
    expect(await keyOf(`${name} = auth.claim('x')`, { x })).toBe(key);
  });

  test('the text 1 and the integer 1 are different keys', async () => {
    expect(await keyOf("t = auth.claim('x')", { x: '1' })).not.toBe(await keyOf("n = auth.claim('x')", { x: '1' }));
  });
});

describe('a missing claim grants nothing', () => {
  test.each([
    [undefined],
    [null],
    ['text'],
    [[]],
    [{}],
    [{ sub: null }],
    [{ sub: undefined }],
    [Object.create({ sub: 'inherited' })],
    [{ SUB: 'x' }],
  ])('%j', async (tokenClaims) => {
    expect(resolveClaims(await planOf('t = auth.user_id()'), tokenClaims).disjuncts).toEqual([]);
  });

  test('nor does a path into text, arrays or prototypes', async () => {
    const plan = await planOf("t = auth.claim('a', 'b')");
    for (const a of ['text', ['x'], null, 5]) expect(resolveClaims(plan, { a }).disjuncts).toEqual([]);
    expect(resolveClaims(plan, { a: { b: 'x' } }).disjuncts).toHaveLength(1);
    for (const path of ["'length'", "'constructor', 'name'", "'__proto__', 'x'", "'toString'"]) {
      expect(resolveClaims(await planOf(`t = auth.claim(${path})`), {}).disjuncts).toEqual([]);
    }
  });

  test('the other disjuncts still count', async () => {
    const plan = await planOf("t = auth.claim('x') OR n = auth.claim('y') OR b");
    expect(new Set(resolveClaims(plan, { y: 1 }).disjuncts.map(({ params }) => params.length))).toEqual(
      new Set([0, 1]),
    );
  });
});

describe('claim filters', () => {
  test.each([
    ["auth.claim('x') = 'a'", 'a', true],
    ["auth.claim('x') = 'a'", 'A', false],
    ["auth.claim('x') = '1'", 1, false],
    ["auth.claim('x') = 1", 1, true],
    ["auth.claim('x') = 1", '1', false],
    ["auth.claim('x') = true", true, true],
    ["auth.claim('x') = true", 'true', false],
    ["auth.claim('x') = 9007199254740991", 2 ** 53 - 1, true],
    ["auth.claim('x') <> 5", 2 ** 53, false],
    ["auth.claim('x') <> 'a'", 'b', true],
    ["auth.claim('x') <> 'a'", 'a', false],
    ["auth.claim('x') <> 'a'", undefined, false],
    ["auth.claim('x') <> 'a'", null, false],
    ["auth.claim('x') <> 'a'", 1, false],
    ["auth.claim('x') IN ('a', 'b')", 'b', true],
    ["auth.claim('x') IN ('a', 'b')", ['a'], false],
    ["auth.claim('x') NOT IN ('a', 'b')", 'c', true],
    ["auth.claim('x') NOT IN ('a', 'b')", undefined, false],
  ])('%s for %j: %j', async (where, x, holds) => {
    expect(resolveClaims(await planOf(where), { x }).disjuncts.length > 0).toBe(holds);
  });

  test('inside a membership they decide whether it is looked up', async () => {
    const plan = await planOf(
      "n IN (SELECT n FROM members WHERE who = auth.user_id() AND auth.claim('role') = 'admin')",
    );
    expect(resolveClaims(plan, { sub: 'u' }).disjuncts).toEqual([]);
    expect(resolveClaims(plan, { sub: 'u', role: 'admin' }).disjuncts).toEqual([
      { disjunct: 0, params: [{ kind: 'lookup', membership: 0, lookupKey: '\x01\x01u' }] },
    ]);
  });
});

describe('bucket keys', () => {
  const resolved: ResolvedClaims = {
    disjuncts: [
      {
        disjunct: 0,
        params: [
          { kind: 'lookup', membership: 0, lookupKey: 'k' },
          { kind: 'value', piece: 'v' },
          { kind: 'lookup', membership: 1, lookupKey: 'k' },
        ],
      },
      { disjunct: 1, params: [] },
    ],
  };

  test('are every combination, once', () => {
    const values = (membership: number) => (membership === 0 ? ['a', 'b', 'a'] : ['x', 'y']);
    expect(bucketKeysFrom(resolved, values)).toEqual([
      { disjunct: 0, key: 'avx' },
      { disjunct: 0, key: 'avy' },
      { disjunct: 0, key: 'bvx' },
      { disjunct: 0, key: 'bvy' },
      { disjunct: 1, key: '' },
    ]);
    expect(bucketKeysFrom(resolved, () => [])).toEqual([{ disjunct: 1, key: '' }]);
  });

  test('L16: past the bound there is a code, before the product is built', () => {
    const many = Array.from({ length: 100_000 }, (_, i) => String(i));
    expect(() => bucketKeysFrom(resolved, () => many)).toThrow(
      expect.toSatisfy((error) => isAppError(error, 'TOO_MANY_BUCKETS') && error.details.max === 1000),
    );
    const atBound = (membership: number) => (membership === 0 ? many.slice(0, 999) : ['x']);
    expect(bucketKeysFrom(resolved, atBound)).toHaveLength(1000);
    expect(() => bucketKeysFrom(resolved, atBound, 999)).toThrow('TOO_MANY_BUCKETS');
  });
});

import { ByteWriter, hexFromBytes } from '@sluice/domain';
import { seededRandom } from '@sluice/testkit';
import { describe, expect, test } from 'vitest';
import { appendParam, appendParamText, type ParamType, paramTypeOf, pgTextFromClaim } from './param.ts';
import { PG_TYPE } from './type-oids.ts';

const random = seededRandom();
const plain = { nondeterministicCollation: false, typeKind: 'b' };

describe('paramTypeOf', () => {
  test('types whose equality is equality of their printed bytes may be compared', () => {
    expect(paramTypeOf(PG_TYPE.text, plain)).toBe('text');
    expect(paramTypeOf(PG_TYPE.varchar, plain)).toBe('text');
    expect(paramTypeOf(PG_TYPE.int2, plain)).toBe('int');
    expect(paramTypeOf(PG_TYPE.int8, plain)).toBe('int');
    expect(paramTypeOf(PG_TYPE.uuid, plain)).toBe('uuid');
    expect(paramTypeOf(PG_TYPE.bool, plain)).toBe('bool');
    expect(paramTypeOf(70_000, { nondeterministicCollation: false, typeKind: 'e' })).toBe('text');
  });

  test.each([
    ['float4', PG_TYPE.float4],
    ['float8', PG_TYPE.float8],
    ['numeric', 1700],
    ['char(n)', 1042],
    ['"char"', 18],
    ['json', 114],
    ['jsonb', 3802],
    ['date', 1082],
    ['timestamp', 1114],
    ['timestamptz', PG_TYPE.timestamptz],
    ['bytea', PG_TYPE.bytea],
    ['int4[]', 1007],
    ['an extension type such as citext', 70_001],
  ])('%s is refused rather than approximated', (_, oid) => {
    expect(paramTypeOf(oid, plain)).toBeUndefined();
  });

  test('a nondeterministic collation makes text incomparable', () => {
    const column = { nondeterministicCollation: true, typeKind: 'b' };
    expect(paramTypeOf(PG_TYPE.text, column)).toBeUndefined();
    expect(paramTypeOf(PG_TYPE.varchar, column)).toBeUndefined();
  });
});

describe('pgTextFromClaim', () => {
  test.each<[ParamType, unknown, string | undefined]>([
    ['text', 'Zoë', 'Zoë'],
    ['text', '', ''],
    ['text', '1', '1'],
    ['text', 1, undefined],
    ['text', true, undefined],
    ['text', null, undefined],
    ['text', undefined, undefined],
    ['text', ['a'], undefined],
    ['text', { a: 1 }, undefined],
    ['text', 'a\0', undefined],
    ['text', '\ud800', undefined],
    ['text', 'e\u0301', 'e\u0301'],
    ['int', 7, '7'],
    ['int', -0, '0'],
    ['int', 9007199254740991, '9007199254740991'],
    ['int', 9007199254740992, undefined],
    ['int', 1.5, undefined],
    ['int', Number.NaN, undefined],
    ['int', '9223372036854775807', '9223372036854775807'],
    ['int', '-7', '-7'],
    ['int', '007', undefined],
    ['int', '+7', undefined],
    ['int', '-0', undefined],
    ['int', ' 7', undefined],
    ['int', '7\n', undefined],
    ['int', '', undefined],
    ['int', '1e3', undefined],
    ['int', true, undefined],
    ['int', null, undefined],
    ['int', [7], undefined],
    ['uuid', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'],
    ['uuid', '{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}', undefined],
    ['uuid', 'a0eebc999c0b4ef8bb6d6bb9bd380a11', undefined],
    ['uuid', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11\n', undefined],
    ['uuid', 5, undefined],
    ['bool', true, 't'],
    ['bool', false, 'f'],
    ['bool', 't', undefined],
    ['bool', 1, undefined],
    ['bool', null, undefined],
  ])('%s with claim %j is %j', (type, claim, expected) => {
    expect(pgTextFromClaim(type, claim)).toBe(expected);
  });
});

describe('appendParam', () => {
  test('a claim and a column of equal value have equal bytes', () => {
    const fromClaim = new ByteWriter();
    appendParamText(fromClaim, 'int', pgTextFromClaim('int', 42) as string);
    const fromRow = new ByteWriter();
    appendParam(fromRow, 'int', new TextEncoder().encode('[42]'), 1, 3);
    expect(fromClaim.take()).toEqual(fromRow.take());
  });

  test(`L13: different tuples never have equal bytes, whatever their texts hold (seed ${random.seed})`, () => {
    const texts = ['', '1', 'a', 'a"', '","', 'null', 't', '\u0001\u0001a', '\u0003', 'é', 'e\u0301', 'x'.repeat(200)];
    const types: readonly ParamType[] = ['text', 'int', 'uuid', 'bool'];
    const tupleByBytes = new Map<string, string>();
    const out = new ByteWriter();
    for (let round = 0; round < 20_000; round++) {
      const tuple = Array.from({ length: random.int(0, 4) }, () => ({
        type: random.pick(types),
        text: random.pick(texts),
      }));
      out.reset();
      for (const { type, text } of tuple) appendParamText(out, type, text);
      const bytes = hexFromBytes(out.written());
      const name = JSON.stringify(tuple);
      expect(tupleByBytes.get(bytes) ?? name).toBe(name);
      tupleByBytes.set(bytes, name);
    }
  });
});

import { ByteReader, ByteWriter, type CellValue, readCell, writeCell, writeFloatCell } from '@sluice/domain';
import { seededRandom } from '@sluice/testkit';
import { describe, expect, test } from 'vitest';
import { cellEncoderFor } from './cell-encoder.ts';
import { PG_TYPE } from './type-oids.ts';

const utf8 = new TextEncoder();
const random = seededRandom();

/** Encodes from the middle of a larger buffer, as rows lie there. */
function encode(typeOid: number, text: string | Uint8Array): Uint8Array {
  const value = typeof text === 'string' ? utf8.encode(text) : text;
  const src = new Uint8Array(value.length + 20).fill(0x39);
  src.set(value, 7);
  const out = new ByteWriter(1);
  cellEncoderFor(typeOid)(src, 7, 7 + value.length, out);
  return out.take();
}
function cellOf(value: CellValue, isFloat = false): Uint8Array {
  const out = new ByteWriter();
  writeCell(out, value, isFloat);
  return out.take();
}

describe('integers', () => {
  const edges = [7n, 8n, 15n, 16n, 31n, 32n, 33n, 53n, 63n].map((bits) => 2n ** bits);
  const powers = Array.from({ length: 19 }, (_, i) => 10n ** BigInt(i));
  const near = [0n, ...edges, ...powers].flatMap((edge) => [edge - 1n, edge, edge + 1n]).flatMap((n) => [n, -n]);
  const inRange = near.filter((n) => n >= -(2n ** 63n) && n < 2n ** 63n);

  test('L9: every integer takes its one canonical cell', () => {
    for (const value of inRange) expect(encode(PG_TYPE.int8, String(value))).toEqual(cellOf(value));
  });

  test(`random 64-bit integers are exact (seed ${random.seed})`, () => {
    for (let i = 0; i < 5000; i++) {
      const bits = new DataView(random.bytes(8).buffer as ArrayBuffer).getBigInt64(0) >> BigInt(random.int(0, 63));
      expect(encode(PG_TYPE.int8, String(bits))).toEqual(cellOf(bits));
    }
  });

  test.each([
    '',
    '-',
    '+1',
    '00',
    '01',
    '-0',
    '1.0',
    '1e3',
    ' 1',
    '1 ',
    '0x1',
    '１',
    '9223372036854775808',
    '-9223372036854775809',
    '99999999999999999999',
    '12345678901234567890123',
    '1234567890123456x',
    '1,5',
    'NaN',
  ])('%j is SOURCE_VALUE', (text) => {
    expect(() => encode(PG_TYPE.int8, text)).toThrow('SOURCE_VALUE');
  });
});

describe('floats', () => {
  test(`random doubles come back bit for bit in every form that Postgres prints (seed ${random.seed})`, () => {
    for (let i = 0; i < 5000; i++) {
      const value = randomDouble();
      for (const text of printedForms(value)) {
        const out = new ByteWriter();
        writeFloatCell(out, value);
        expect(encode(PG_TYPE.float8, text), text).toEqual(Object.is(value, -0) ? cellOf('-0') : out.take());
      }
    }
  });

  test('digits are rounded to the nearest double, as the engine rounds them', () => {
    const texts = [
      '9007199254740993',
      '9007199254740992',
      '0.1',
      '1e22',
      '1e23',
      '123456789012345e-22',
      '4.35',
      '1e-22',
    ];
    texts.push('2.2250738585072011e-308', '1.7976931348623157e+308', '4.9406564584124654e-324', '8.5e-05', '0.000001');
    for (const text of texts.map(withExponentSign)) {
      const decoded = readCell(new ByteReader(encode(PG_TYPE.float8, text)));
      expect(decoded, text).toBe(Number(text));
    }
  });

  test('what is not a SQLite number stays text', () => {
    for (const text of ['NaN', 'Infinity', '-Infinity', '-0'])
      for (const type of [PG_TYPE.float4, PG_TYPE.float8]) expect(encode(type, text)).toEqual(cellOf(text));
    expect(encode(PG_TYPE.float8, '0')).toEqual(cellOf(0, true));
  });

  test.each([
    '',
    '-',
    '.',
    '.5',
    '5.',
    '1.2.3',
    '1e',
    '1e+',
    '1e5',
    '1e+x',
    '1e+00000',
    '1e+400',
    'nan',
    'inf',
    '+1',
    ' 1',
    '1 ',
    '0x10',
    '1_0',
    `0.${'1'.repeat(60)}`,
    'Infinity!',
    `${'9'.repeat(400)}`,
  ])('%j is SOURCE_VALUE', (text) => {
    expect(() => encode(PG_TYPE.float8, text)).toThrow('SOURCE_VALUE');
  });

  function randomDouble(): number {
    if (random.chance(0.4)) return (random.int(0, 2 ** 31) - 2 ** 30) / 10 ** random.int(0, 9);
    const value = new DataView(random.bytes(8).buffer as ArrayBuffer).getFloat64(0);
    return Number.isFinite(value) ? value : 0;
  }
  /** Postgres writes a two-digit exponent at least, and moves the point at other places than JavaScript does. */
  function printedForms(value: number): string[] {
    const sign = Object.is(value, -0) ? '-' : '';
    const scientific = value.toExponential();
    return [sign + String(value), ...(value === 0 ? [] : [scientific])].map(withExponentSign);
  }
  function withExponentSign(text: string): string {
    return text.replace(/e([+-]?)(\d)$/, 'e$10$2').replace(/e(\d)/, 'e+$1');
  }
});

describe('other types', () => {
  test('booleans are 0 and 1', () => {
    expect(encode(PG_TYPE.bool, 't')).toEqual(cellOf(1));
    expect(encode(PG_TYPE.bool, 'f')).toEqual(cellOf(0));
    for (const text of ['', 'true', 'T', '1']) expect(() => encode(PG_TYPE.bool, text)).toThrow('SOURCE_VALUE');
  });

  test(`bytea gives its bytes (seed ${random.seed})`, () => {
    for (const length of [0, 1, 2, 63, 64, 127, 128, 5000]) {
      const bytes = random.bytes(length);
      const hex = Buffer.from(bytes).toString('hex');
      expect(encode(PG_TYPE.bytea, `\\x${hex}`)).toEqual(cellOf(bytes));
    }
  });

  test.each(['', '\\', '\\x0', '\\xg0', '\\x0G', '\\X00', '00', '\\000\\377', '\\xAB'])(
    'bytea %j is SOURCE_VALUE',
    (text) => {
      expect(() => encode(PG_TYPE.bytea, text)).toThrow('SOURCE_VALUE');
    },
  );

  test.each([
    ['2024-03-10 02:30:00+00', '2024-03-10 02:30:00+00:00'],
    ['2024-03-10 02:30:00.123456+00', '2024-03-10 02:30:00.123456+00:00'],
    ['4713-01-01 00:00:00+00 BC', '4713-01-01 00:00:00+00:00 BC'],
    ['294276-12-31 23:59:59.999999+00', '294276-12-31 23:59:59.999999+00:00'],
    ['infinity', 'infinity'],
    ['-infinity', '-infinity'],
  ])('timestamptz %s is %s', (text, expected) => {
    expect(encode(PG_TYPE.timestamptz, text)).toEqual(cellOf(expected));
  });

  test.each([
    '',
    '+00',
    'BC',
    '2024-03-10 02:30:00',
    '2024-03-10 02:30:00+05:45',
    '2024-03-10 02:30:00-05',
    '10/03/2024 08:15:00 +0545',
    '2024-03-10 02:30:00+01 BC',
    'y',
    'infinite',
    '02:30:00+00',
    '10/03/2024 02:30:00 UTC',
  ])('timestamptz %j is SOURCE_VALUE: the session was not in UTC', (text) => {
    expect(() => encode(PG_TYPE.timestamptz, text)).toThrow('SOURCE_VALUE');
  });

  test('the dates of docs/types.md are read by JavaScript as the moment that Postgres meant', () => {
    const printed = new TextDecoder().decode(encode(PG_TYPE.timestamptz, '2024-03-10 02:30:00.123+00').subarray(1));
    expect(new Date(printed).toISOString()).toBe('2024-03-10T02:30:00.123Z');
  });

  test.each([PG_TYPE.text, PG_TYPE.varchar, PG_TYPE.uuid, 1700, 114, 3802, 1082, 1083, 1114, 1186, 1007, 999_999])(
    'type %i is text as it stands, at every length around the short form',
    (typeOid) => {
      for (const length of [0, 1, 63, 64, 94, 95, 96, 97, 127, 128, 20_000]) {
        const text = 'é'.repeat(length >> 1) + 'x'.repeat(length & 1);
        expect(encode(typeOid, text)).toEqual(cellOf(text));
      }
    },
  );

  test('an error names the type and never the value', () => {
    const secret = 'secret-value';
    for (const type of [PG_TYPE.bool, PG_TYPE.int4, PG_TYPE.float8, PG_TYPE.bytea, PG_TYPE.timestamptz]) {
      const error = errorOf(() => encode(type, secret));
      expect(error).toMatchObject({ code: 'SOURCE_VALUE', details: { typeOid: expect.any(Number) } });
      expect(String(error)).not.toContain(secret);
    }
  });
});

function errorOf(act: () => void): unknown {
  try {
    act();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}

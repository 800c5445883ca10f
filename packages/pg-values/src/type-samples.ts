import { PG_TYPE } from './type-oids.ts';
import { sample, type TypeFamily, type TypeSample } from './type-sample.ts';
import { textFamilies } from './type-samples-text.ts';

const numberFamilies: readonly TypeFamily[] = [
  {
    types: '`boolean`',
    sqliteType: 'INTEGER',
    form: '1 for true, 0 for false.',
    samples: [
      sample('a_bool', 'boolean', [
        ['true', 1],
        ['false', 0],
      ]),
    ],
  },
  {
    types: '`smallint`, `integer`, `bigint`, `oid`, serials',
    sqliteType: 'INTEGER',
    form: 'The same integer. JavaScript gets a number when it is safe (within ±(2^53 - 1)), else a bigint.',
    samples: [
      sample('an_int2', 'int2', [
        ['-32768', -32768],
        ['32767', 32767],
        ['-1', -1],
        ['128', 128],
        ['-129', -129],
      ]),
      sample('an_int4', 'int4', [
        ['-2147483648', -2147483648],
        ['2147483647', 2147483647],
        ['0', 0],
        ['1', 1],
      ]),
      sample('an_int8', 'int8', [
        ['-9223372036854775808', -(2n ** 63n)],
        ['9223372036854775807', 2n ** 63n - 1n],
        ['9007199254740993', 9007199254740993n],
        ['-9007199254740993', -9007199254740993n],
        ['9007199254740991', Number.MAX_SAFE_INTEGER],
        ['2147483648', 2147483648],
        ['-2147483649', -2147483649],
        ['4294967296', 4294967296],
        ['-4294967296', -4294967296],
        ['1000000000000000', 1e15],
      ]),
      sample('an_oid', 'oid', [
        ['0', 0],
        ['4294967295', 4294967295],
      ]),
    ],
  },
  {
    types: '`real`, `double precision`',
    sqliteType: 'ANY',
    form:
      'A float: the double nearest to the digits that Postgres prints, which for `double precision` is the value itself. ' +
      '`NaN`, `Infinity`, `-Infinity` and `-0` are text: as numbers SQLite would turn the first into NULL and print the others as `Inf`, `-Inf` and `0.0`.',
    samples: [
      sample('a_float4', 'float4', [
        ['0.1', 0.1],
        ['16777216', 16777216],
        ['3.4028235e38', 3.4028235e38],
        ['1.17549435e-38', 1.1754944e-38],
        ["'NaN'", 'NaN'],
        ["'-0'", '-0'],
      ]),
      sample('a_float8', 'float8', [
        ['0.1::float8 + 0.2::float8', 0.30000000000000004],
        ['5e-324', 5e-324],
        ['2.2250738585072014e-308', 2.2250738585072014e-308],
        ['1.7976931348623157e308', Number.MAX_VALUE],
        ['-1.5', -1.5],
        ['1', 1],
        ['0', 0],
        ["'-0'", '-0'],
        ['1e21', 1e21],
        ['9007199254740993', 9007199254740992],
        ['123456789.123456789', 123456789.12345679],
        ['1e23', 1e23],
        ["'NaN'", 'NaN'],
        ["'Infinity'", 'Infinity'],
        ["'-Infinity'", '-Infinity'],
      ]),
    ],
  },
  {
    types: '`bytea`',
    sqliteType: 'BLOB',
    form: 'The same bytes.',
    samples: [
      sample('a_bytea', 'bytea', [
        ["''", new Uint8Array(0)],
        ["'\\x00ff5c0a'", Uint8Array.of(0, 255, 0x5c, 0x0a)],
        ["decode(repeat('0123456789abcdef', 40), 'hex')", repeatedBytes('0123456789abcdef', 40)],
      ]),
    ],
  },
];

const domainFamily: TypeFamily = {
  types: 'domains',
  sqliteType: 'ANY',
  form: "As the base type, in a column of the base type's kind.",
  samples: [
    {
      ...sample('an_int_domain', 'positive_int', [['9007199254740993', 9007199254740993n]]),
      setup: ['CREATE DOMAIN positive_int AS int8 CHECK (VALUE > 0)'],
      baseTypeOid: PG_TYPE.int8,
    },
    {
      ...sample('a_text_domain', 'short_text', [["'é'", 'é']]),
      setup: ['CREATE DOMAIN short_text AS varchar(10)'],
      baseTypeOid: PG_TYPE.varchar,
    },
    {
      ...sample('a_time_domain', 'moment', [["'2024-03-10 02:30:00+00'", '2024-03-10 02:30:00+00:00']]),
      setup: ['CREATE DOMAIN moment AS timestamptz'],
      baseTypeOid: PG_TYPE.timestamptz,
    },
  ],
};

export type { SampleValue, TypeFamily, TypeSample } from './type-sample.ts';

export const TYPE_FAMILIES: readonly TypeFamily[] = [...numberFamilies, ...textFamilies, domainFamily];
export const TYPE_SAMPLES: readonly TypeSample[] = TYPE_FAMILIES.flatMap((family) => family.samples);
/** Rows of the sample table: one more than the longest list, the last all NULL. Row i, from 0, has each column's value i. */
export const TYPE_SAMPLE_ROWS: number = 1 + Math.max(...TYPE_SAMPLES.map((each) => each.values.length));

/** Statements that make the sample table `table` (quoted by the caller): a key `id int8`, then a column per sample. */
export function createTypeSamplesSql(table: string): string[] {
  const columns = TYPE_SAMPLES.map((each) => `${each.column} ${each.pgType}`).join(', ');
  return [
    ...TYPE_SAMPLES.flatMap((each) => each.setup),
    `CREATE TABLE ${table} (id int8 PRIMARY KEY, ${columns})`,
    `ALTER TABLE ${table} REPLICA IDENTITY FULL`,
    // Its long value is then TOASTed whatever it compresses to.
    `ALTER TABLE ${table} ALTER COLUMN a_text SET STORAGE EXTERNAL`,
  ];
}

/** One INSERT per row, ids from 0; columns whose list is shorter are NULL. */
export function insertTypeSamplesSql(table: string): string[] {
  return Array.from({ length: TYPE_SAMPLE_ROWS }, (_, row) => {
    const values = TYPE_SAMPLES.map((each) => each.values[row]?.sql ?? 'NULL').join(', ');
    return `INSERT INTO ${table} VALUES (${row}, ${values})`;
  });
}

function repeatedBytes(hex: string, count: number): Uint8Array {
  const once = Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
  return Uint8Array.from({ length: once.length * count }, (_, i) => once[i % once.length] as number);
}

import { sample, sampleOfText, type TypeFamily } from './type-sample.ts';

/** The families that are text in SQLite; the others are in type-samples.ts. */
export const textFamilies: readonly TypeFamily[] = [
  {
    types: '`numeric`, `decimal`',
    sqliteType: 'TEXT',
    form: 'All digits as printed, with the scale: `1.00` and `1.0` differ. Cast in queries (`CAST(price AS REAL)`) where rounding is acceptable.',
    samples: [
      sampleOfText(
        'a_numeric',
        'numeric',
        'NaN',
        'Infinity',
        '-Infinity',
        '0',
        '1.00',
        '-12345678901234567890123456789012345678.123456789',
        '0.000000000000000000000000000000000001',
        '9007199254740993',
      ),
      sample('a_huge_numeric', 'numeric', [["('1e131071')", `1${'0'.repeat(131071)}`]]),
      sample('a_price', 'numeric(10,2)', [
        ['12.345', '12.35'],
        ['-0.001', '0.00'],
      ]),
    ],
  },
  {
    types: '`money`',
    sqliteType: 'TEXT',
    form: "As printed in the database's `lc_monetary`.",
    samples: [sample('a_money', 'money', [["'-1234.5'", '-$1,234.50']])],
  },
  {
    types: '`text`, `varchar`, `char(n)`, `"char"`, `name`, `citext`',
    sqliteType: 'TEXT',
    form: 'The same text; `char(n)` with its padding. SQLite compares bytes: case-insensitive and other collations do not travel.',
    samples: [
      sample('a_text', 'text', [
        ["''", ''],
        ["'Zürich 🛬 日本'", 'Zürich 🛬 日本'],
        ["E'\\t\\n\\r\\b\\f\\v\\\\'", '\t\n\r\b\f\v\\'],
        ["'\\N'", '\\N'],
        ["'\\.'", '\\.'],
        ["'NULL'", 'NULL'],
        ["E'\\ufefffirst'", '\ufefffirst'],
        ["repeat('x', 95)", 'x'.repeat(95)],
        ["repeat('x', 96)", 'x'.repeat(96)],
        ["repeat('é', 70000)", 'é'.repeat(70000)],
      ]),
      sample('a_varchar', 'varchar(5)', [["'ab  '", 'ab  ']]),
      sample('a_bpchar', 'char(5)', [["'ab'", 'ab   ']]),
      sample('a_char', '"char"', [["'a'", 'a']]),
      sampleOfText('a_name', 'name', 'Robert"; DROP'),
      { ...sampleOfText('a_citext', 'citext', 'MiXed ß'), setup: ['CREATE EXTENSION IF NOT EXISTS citext'] },
    ],
  },
  {
    types: '`uuid`',
    sqliteType: 'TEXT',
    form: 'Lower case with hyphens.',
    samples: [
      sample('a_uuid', 'uuid', [
        ["'{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}'", 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'],
        ["'00000000-0000-0000-0000-000000000000'", '00000000-0000-0000-0000-000000000000'],
      ]),
    ],
  },
  {
    types: '`date`',
    sqliteType: 'TEXT',
    form: '`YYYY-MM-DD`; also `infinity`, `-infinity`, a longer year, and ` BC` behind years before 1.',
    samples: [sampleOfText('a_date', 'date', '2024-02-29', '0044-03-15 BC', '5874897-12-31', 'infinity', '-infinity')],
  },
  {
    types: '`time`, `timetz`',
    sqliteType: 'TEXT',
    form: '`HH:MM:SS` with up to six decimals; `24:00:00` exists. `timetz` keeps its own offset.',
    samples: [
      sample('a_time', 'time', [
        ["'24:00:00'", '24:00:00'],
        ["'23:59:60'", '24:00:00'],
        ["'00:00:00.000001'", '00:00:00.000001'],
      ]),
      sampleOfText('a_timetz', 'timetz', '04:05:06.789-08', '24:00:00+05:30', '00:00:00+15:59:59'),
    ],
  },
  {
    types: '`timestamp`',
    sqliteType: 'TEXT',
    form: '`YYYY-MM-DD HH:MM:SS` with up to six decimals and no zone; `infinity` and ` BC` as with dates.',
    samples: [
      sampleOfText(
        'a_timestamp',
        'timestamp',
        '2024-03-10 02:30:00',
        '2024-03-10 02:30:00.1',
        '2024-03-10 02:30:00.000001',
        'infinity',
        '-infinity',
        '294276-12-31 23:59:59.999999',
        '4713-01-01 00:00:00 BC',
      ),
    ],
  },
  {
    types: '`timestamptz`',
    sqliteType: 'TEXT',
    form: "In UTC: as `timestamp`, then `+00:00` (before ` BC`), which SQLite's date functions and JavaScript's `Date` read.",
    samples: [
      sample('a_timestamptz', 'timestamptz', [
        ["'2024-03-10 02:30:00.123456-05'", '2024-03-10 07:30:00.123456+00:00'],
        ["'2024-03-10 02:30:00 Asia/Kathmandu'", '2024-03-09 20:45:00+00:00'],
        ["'294276-12-31 23:59:59.999999+00'", '294276-12-31 23:59:59.999999+00:00'],
        ["'4713-01-01 00:00:00+00 BC'", '4713-01-01 00:00:00+00:00 BC'],
        ["'infinity'", 'infinity'],
        ["'-infinity'", '-infinity'],
      ]),
    ],
  },
  {
    types: '`interval`',
    sqliteType: 'TEXT',
    form: "Postgres's own style.",
    samples: [
      sample('an_interval', 'interval', [
        ["'1 year 2 months -3 days 04:05:06.789'", '1 year 2 mons -3 days +04:05:06.789'],
        ["'-0.000001 seconds'", '-00:00:00.000001'],
        ["'178000000 years'", '178000000 years'],
        ["'0'", '00:00:00'],
      ]),
    ],
  },
  {
    types: '`json`, `jsonb`',
    sqliteType: 'TEXT',
    form: "As printed: `json` keeps spaces, order and repeated keys, `jsonb` does not. Numbers keep every digit; SQLite's `->>` works on both.",
    samples: [
      sampleOfText('a_json', 'json', '{"a": 1,  "a": 2}', '"\\ud800"', '12345678901234567890.10', 'null'),
      sample('a_jsonb', 'jsonb', [
        ['\'{"b": 1, "a": 1, "a": 2}\'', '{"a": 2, "b": 1}'],
        ["'12345678901234567890.10'", '12345678901234567890.10'],
        ["'1e30'", `1${'0'.repeat(30)}`],
        ["'null'", 'null'],
      ]),
    ],
  },
  {
    types: 'arrays',
    sqliteType: 'TEXT',
    form: "Postgres's array text, with bounds that do not start at 1. Elements are as Postgres prints them (`t`, `+00`), not as in this table.",
    samples: [
      sampleOfText('an_int_array', 'int4[]', '[2:3]={1,2}', '{}', '{NULL,1}', '{{1,2},{3,4}}'),
      sampleOfText('a_text_array', 'text[]', '{"a b",NULL,"NULL","x\\"y\\\\",""}'),
      sampleOfText('a_float_array', 'float8[]', '{0.30000000000000004,NaN,-0}'),
      sampleOfText('a_bytea_array', 'bytea[]', '{"\\\\x00ff"}'),
      sampleOfText('a_moment_array', 'timestamptz[]', '{"2024-01-01 00:00:00+00",infinity}'),
    ],
  },
  {
    types: 'ranges and multiranges',
    sqliteType: 'TEXT',
    form: "Postgres's range text, in its canonical form.",
    samples: [
      sampleOfText('an_int_range', 'int4range', 'empty', '[1,10)', '(,)'),
      sampleOfText('a_moment_range', 'tstzrange', '["2024-01-01 00:00:00+00",)'),
      sampleOfText('a_multirange', 'int4multirange', '{[1,3),[5,7)}', '{}'),
    ],
  },
  {
    types: 'enums',
    sqliteType: 'TEXT',
    form: 'The label.',
    samples: [
      {
        ...sampleOfText('an_enum', '"mood ""of day"""', "it's", 'a "b", c', 'back\\slash', ''),
        setup: [`CREATE TYPE "mood ""of day""" AS ENUM ('it''s', 'a "b", c', 'back\\slash', '')`],
      },
    ],
  },
  {
    types: 'composite types',
    sqliteType: 'TEXT',
    form: "Postgres's row text.",
    samples: [
      {
        ...sample('a_composite', 'place', [
          [`ROW(1, 'a "b"', NULL, 0.1::float8 + 0.2::float8)`, '(1,"a ""b""",,0.30000000000000004)'],
        ]),
        setup: ['CREATE TYPE place AS (n int4, label text, nothing text, weight float8)'],
      },
    ],
  },
  {
    types: '`bit`, `varbit`',
    sqliteType: 'TEXT',
    form: 'Digits 0 and 1.',
    samples: [sampleOfText('a_bit', 'bit(3)', '101'), sampleOfText('a_varbit', 'varbit', '', '1')],
  },
  {
    types:
      'everything else: `inet`, `cidr`, `macaddr`, geometric types, `xml`, `tsvector`, `tsquery`, `pg_lsn`, `xid8`, `regclass`, `hstore`, ...',
    sqliteType: 'TEXT',
    form: 'As Postgres prints it under the pinned settings; names of the `reg...` types are in full unless built in.',
    samples: [
      sampleOfText('an_inet', 'inet', '192.168.0.1/24', '::1'),
      sampleOfText('a_cidr', 'cidr', '10.0.0.0/8'),
      sampleOfText('a_macaddr', 'macaddr', '08:00:2b:01:02:03'),
      sampleOfText('a_point', 'point', '(0.1,0.30000000000000004)', '(NaN,Infinity)'),
      sampleOfText('a_box', 'box', '(2,2),(1,1)'),
      sampleOfText('a_path', 'path', '[(0,0),(1,1)]'),
      sampleOfText('a_circle', 'circle', '<(0,0),1.5>'),
      sampleOfText('a_tsvector', 'tsvector', "'a':1A 'fat cat':2"),
      sampleOfText('a_tsquery', 'tsquery', "'fat' & !'rat':*"),
      sampleOfText('an_xml', 'xml', '<a b="1">é &amp; ü</a>', 'a <b/> c'),
      sampleOfText('a_pg_lsn', 'pg_lsn', '16/B374D848'),
      sampleOfText('an_xid8', 'xid8', '18446744073709551615'),
      sampleOfText('a_jsonpath', 'jsonpath', '$."a"[*]?(@ > 1)'),
      sample('a_regclass', 'regclass', [
        ["'pg_catalog.pg_class'", 'pg_class'],
        ["'information_schema.tables'", 'information_schema.tables'],
      ]),
      sample('a_regtype', 'regtype', [["'timestamptz'", 'timestamp with time zone']]),
      {
        ...sampleOfText('an_hstore', 'hstore', '"a"=>"1", "b"=>NULL'),
        setup: ['CREATE EXTENSION IF NOT EXISTS hstore'],
      },
    ],
  },
];

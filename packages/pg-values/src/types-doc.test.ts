import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { sqliteTypeOf } from './sqlite-type.ts';
import { PG_TYPE } from './type-oids.ts';
import { TYPE_FAMILIES, TYPE_SAMPLES } from './type-samples.ts';
import { formatTypesTable } from './types-table.ts';

const page = readFileSync(new URL('../../../docs/types.md', import.meta.url), 'utf8');

test('docs/types.md holds the table that the tests check (write it with `npm run docs -w @sluice/pg-values`)', () => {
  const [, section] = page.split(/<!-- types:begin -->\n|\n<!-- types:end -->/);
  expect(section).toBe(formatTypesTable());
});

test('every type that is not text has its samples, in a column of its kind', () => {
  const oidByName = new Map<string, number>(Object.entries(PG_TYPE));
  const names = new Set(TYPE_SAMPLES.map((sample) => (sample.pgType === 'boolean' ? 'bool' : sample.pgType)));
  for (const name of oidByName.keys())
    expect(
      [...names].some((each) => each.startsWith(name)),
      name,
    ).toBe(true);
  for (const family of TYPE_FAMILIES) {
    for (const { pgType, baseTypeOid } of family.samples) {
      const oid = baseTypeOid ?? oidByName.get(pgType === 'boolean' ? 'bool' : pgType);
      if (baseTypeOid === undefined) expect(sqliteTypeOf(oid ?? 0), pgType).toBe(family.sqliteType);
    }
  }
});

test('sample columns have names of their own', () => {
  expect(new Set(TYPE_SAMPLES.map((sample) => sample.column)).size).toBe(TYPE_SAMPLES.length);
});

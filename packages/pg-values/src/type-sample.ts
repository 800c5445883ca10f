import type { CellValue } from '@sluice/domain';
import type { SqliteType } from './sqlite-type.ts';

/**
 * Every Postgres type family with its edge values and the SQLite values that they must become. The tables of
 * docs/types.md are made from this, and the tests compare snapshot, stream and client with it.
 */
export interface TypeFamily {
  /** The types, as docs/types.md names them. */
  readonly types: string;
  readonly sqliteType: SqliteType;
  /** How a value is written; one sentence or two. */
  readonly form: string;
  readonly samples: readonly TypeSample[];
}

export interface TypeSample {
  /** A column name, unique among all samples. */
  readonly column: string;
  /** As in CREATE TABLE. */
  readonly pgType: string;
  /** Statements that make the type, run once per database. */
  readonly setup: readonly string[];
  /** A domain's base type; undefined where the column's own type decides. */
  readonly baseTypeOid: number | undefined;
  readonly values: readonly SampleValue[];
}

export interface SampleValue {
  /** An SQL expression of the column's type. */
  readonly sql: string;
  /** What the cell must hold; for a float column a number is a float, also when it is whole. */
  readonly cell: CellValue;
}

/** A sample of built-in types or of those that decide by themselves. */
export function sample(
  column: string,
  pgType: string,
  values: readonly (readonly [sql: string, cell: CellValue])[],
): TypeSample {
  const pairs = values.map(([sql, cell]) => ({ sql, cell }));
  return { column, pgType, setup: [], baseTypeOid: undefined, values: pairs };
}

/** A sample whose values are given as text that comes out as it went in. */
export function sampleOfText(column: string, pgType: string, ...texts: readonly string[]): TypeSample {
  return sample(
    column,
    pgType,
    texts.map((text) => [`'${text.replaceAll("'", "''")}'`, text]),
  );
}

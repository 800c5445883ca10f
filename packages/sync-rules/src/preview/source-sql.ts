import { PG_TYPE } from '@sluice/pg-values';
import type { ParamType, RowFilter, SourceColumn, SourceTable } from '../plan.ts';

/** Parameters of one statement, in order; each is text that the server reads as the type that stands behind its place. */
export class SqlValues {
  readonly #values: (string | readonly string[])[] = [];

  /** Its place, for example `$3`. */
  place(value: string | readonly string[]): string {
    this.#values.push(value);
    return `$${this.#values.length}`;
  }
  get list(): readonly (string | readonly string[])[] {
    return this.#values;
  }
}

export function quotedName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
export function quotedTable({ schema, name }: SourceTable): string {
  return `${quotedName(schema)}.${quotedName(name)}`;
}
/** A column of the table that the statement calls `alias`. */
export function columnOf(alias: string, { name }: SourceColumn): string {
  return `${alias}.${quotedName(name)}`;
}

/** A column as the type prints it, NULL as the empty text: what row filters compare byte by byte. */
function printed(column: string): string {
  return `pg_catalog.format('%s', ${column})`;
}

const INT8_RANGE = { min: -(2n ** 63n), max: 2n ** 63n - 1n };
/** Those that an index of theirs is compared with bigint by. */
const INDEXED_INTS: ReadonlySet<number> = new Set([PG_TYPE.int2, PG_TYPE.int4, PG_TYPE.int8]);
const TEXTS: ReadonlySet<number> = new Set([PG_TYPE.text, PG_TYPE.varchar]);

/** Whether the column has the value that is printed so, in a form that its index helps with where there is one. */
export function equalsText(
  on: { readonly alias: string; readonly column: SourceColumn; readonly type: ParamType },
  text: string,
  values: SqlValues,
): string {
  const { alias, column, type } = on;
  const side = columnOf(alias, column);
  switch (type) {
    case 'int': {
      const number = BigInt(text);
      if (number < INT8_RANGE.min || number > INT8_RANGE.max) return 'false';
      return `${INDEXED_INTS.has(column.typeOid) ? side : `${side}::int8`} = ${values.place(text)}::int8`;
    }
    case 'uuid':
      return `${side} = ${values.place(text)}::uuid`;
    case 'bool':
      return `${side} = ${values.place(text)}::bool`;
    case 'text':
      return `${TEXTS.has(column.typeOid) ? side : `${side}::text`} = ${values.place(text)}::text`;
  }
}

/** Whether two columns, compared as `type`, have equal values. */
export function equalsColumn(left: string, right: string, type: ParamType): string {
  const cast = type === 'text' ? '::text' : type === 'int' ? '::int8' : '';
  return `${left}${cast} = ${right}${cast}`;
}

/** True or false, never NULL, as the worker that sorts rows into buckets has it. */
export function filterSql(alias: string, filter: RowFilter, values: SqlValues): string {
  const side = columnOf(alias, filter.column);
  switch (filter.kind) {
    case 'is-null':
      return `${side} IS NULL`;
    case 'is-not-null':
      return `${side} IS NOT NULL`;
    case 'equals':
      return `(${side} IS NOT NULL AND ${printed(side)} = ${values.place(filter.text)}::text)`;
    case 'not-equals':
      return `(${side} IS NOT NULL AND ${printed(side)} <> ${values.place(filter.text)}::text)`;
    case 'one-of':
      return `(${side} IS NOT NULL AND ${printed(side)} = ANY (${values.place(filter.texts)}::text[]))`;
  }
}

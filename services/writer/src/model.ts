import type { Code } from '@sluice/errors';
import type { ClientColumn, WritableTable } from '@sluice/sync-rules';

/** The nouns that the rooms of this service share. */

/** An upload's end for good, which the client is told. `reason` names tables, columns and constraints, and no values. */
export interface Refusal {
  readonly code: Code;
  readonly reason: string;
}
export function isRefusal(value: object): value is Refusal {
  return 'reason' in value;
}

/** A value as Postgres reads it in text form. */
export type Parameter = string | null;

/** A mutation that fits its table: columns looked up, values in the form that Postgres reads. */
export interface PlannedWrite {
  readonly kind: 'insert' | 'update' | 'delete' | 'upsert';
  readonly table: WritableTable;
  /** Of the key columns, in their order. */
  readonly key: readonly string[];
  readonly changes: readonly PlannedChange[];
}
export interface PlannedChange {
  readonly column: ClientColumn;
  /** Undefined for a column of a deleted row. */
  readonly value: Parameter | undefined;
  /** What the client showed before; undefined where there was no row. */
  readonly previous: Parameter | undefined;
}

/** A statement of SQL with its values. */
export interface Statement {
  readonly sql: string;
  readonly parameters?: readonly (Parameter | number)[];
  /** It did what it should only if it changed a row. */
  readonly hasRow?: boolean;
}

/** A session on the source, within which statements run one after the other. Errors are the driver's own. */
export interface WriterSession {
  /** Resolves to the number of rows that were returned or changed. */
  run(sql: string, parameters?: readonly (Parameter | number)[]): Promise<number>;
  /** Sends all of them at once; one that fails says so in its place, and lets those behind it fail as the transaction does. */
  inOneGo(statements: readonly Statement[]): Promise<PromiseSettledResult<number>[]>;
  rows<Row extends object>(sql: string, parameters: readonly (Parameter | number)[]): Promise<Row[]>;
  /** How the type is written in a cast, without a modifier: a value is never cut to fit. */
  typeNameOf(typeOid: number): string;
}

import type { SourceColumn, StreamPlan } from '../plan.ts';
import { type Condition, type ConditionMembership, conditionsOf, ROW } from './conditions.ts';
import { columnOf, quotedName, quotedTable, SqlValues } from './source-sql.ts';

/** A statement for the source with its parameters, all of them text or lists of text. */
export interface SourceStatement {
  readonly text: string;
  readonly values: readonly (string | readonly string[])[];
}

/** Characters of one value that are shown. */
const SHOWN_CHARS_MAX = 1_000;

/** What a column is shown as: the text that Postgres prints, cut; NULL stays NULL. */
function shown(column: string): string {
  return `CASE WHEN ${column} IS NULL THEN NULL ELSE left(pg_catalog.format('%s', ${column}), ${SHOWN_CHARS_MAX}) END`;
}

function shownColumns(plan: StreamPlan): string {
  return plan.table.columns.map(({ source }) => shown(columnOf(ROW, source))).join(', ');
}

/** The rows that the stream gives a user with this token, at most `rowsMax`, one text for each client column, in the order of keys. */
export function rowsStatement(plan: StreamPlan, tokenClaims: unknown, rowsMax: number): SourceStatement {
  const values = new SqlValues();
  const where = whereOf(plan, tokenClaims, values);
  const key = keyOf(plan).map((column) => columnOf(ROW, column));
  return {
    text: `SELECT ${shownColumns(plan)} FROM ${quotedTable(plan.sourceTable)} ${ROW} WHERE ${where} ORDER BY ${key.join(', ')} LIMIT ${rowsMax}`,
    values: values.list,
  };
}

/** How many rows that are, counted up to `countMax`; one integer as text. */
export function countStatement(plan: StreamPlan, tokenClaims: unknown, countMax: number): SourceStatement {
  const values = new SqlValues();
  const where = whereOf(plan, tokenClaims, values);
  return {
    text: `SELECT count(*) FROM (SELECT FROM ${quotedTable(plan.sourceTable)} ${ROW} WHERE ${where} LIMIT ${countMax}) counted`,
    values: values.list,
  };
}

function whereOf(plan: StreamPlan, tokenClaims: unknown, values: SqlValues): string {
  const alternatives = conditionsOf(plan, tokenClaims, values).map((conditions) =>
    conditions.length === 0 ? 'true' : conditions.map(({ sql }) => sql).join(' AND '),
  );
  return alternatives.length === 0 ? 'false' : alternatives.map((sql) => `(${sql})`).join(' OR ');
}

function keyOf(plan: StreamPlan): readonly SourceColumn[] {
  return plan.table.columns.slice(0, plan.table.keyColumns).map(({ source }) => source);
}

export interface RowExplanation {
  readonly statement: SourceStatement;
  /** The alternatives of the stream's WHERE; the statement's columns are the values of the row, then each condition in order. */
  readonly alternatives: readonly (readonly Condition[])[];
}

/**
 * One row by its key, with whether each condition of the stream holds for it and this token (`t`, `f` or NULL). Gives no row when
 * there is none with this key. `key` has the text of each key column, as Postgres reads it.
 */
export function explainStatement(plan: StreamPlan, tokenClaims: unknown, key: readonly string[]): RowExplanation {
  const values = new SqlValues();
  const alternatives = conditionsOf(plan, tokenClaims, values);
  const conditions = alternatives.flat().map(({ sql }) => `CASE WHEN ${sql} THEN 't' ELSE 'f' END`);
  const where = keyOf(plan).map(({ name }, i) => `${ROW}.${quotedName(name)} = ${values.place(key[i] ?? '')}`);
  return {
    alternatives,
    statement: {
      text: `SELECT ${[shownColumns(plan), ...conditions].join(', ')} FROM ${quotedTable(plan.sourceTable)} ${ROW} WHERE ${where.join(' AND ')}`,
      values: values.list,
    },
  };
}

/** The values that a membership gives a token, each once, at most `valuesMax`; undefined when it can give none. */
export function membershipStatement(
  { from, value }: ConditionMembership,
  valuesMax: number,
): SourceStatement | undefined {
  if (!from) return undefined;
  const values = new SqlValues();
  const rows = from(values);
  return {
    text: `SELECT DISTINCT left(pg_catalog.format('%s', ${value}), ${SHOWN_CHARS_MAX}) ${rows} ORDER BY 1 LIMIT ${valuesMax}`,
    values: values.list,
  };
}

/** As `explainStatement` for a token without a row: the conditions alone, for their memberships. */
export function alternativesOf(plan: StreamPlan, tokenClaims: unknown): readonly (readonly Condition[])[] {
  return conditionsOf(plan, tokenClaims, new SqlValues());
}

import { assert } from '@sluice/errors';
import { pgTextFromClaim } from '@sluice/pg-values';
import type { BucketParam, BucketPlan, ClaimFilter, ClaimRef, MembershipPlan, RowFilter, StreamPlan } from '../plan.ts';
import { claimValueOf, isSatisfied } from '../resolve-claims.ts';
import { columnOf, equalsColumn, equalsText, filterSql, quotedTable, type SqlValues } from './source-sql.ts';

/** The stream's table in the statements of a preview. */
export const ROW = 't';
const MEMBER = 'm';

/** One condition of an alternative of a stream's WHERE, for one token. */
export interface Condition {
  /** `row`: about the row alone. `token`: about the token alone. `claim`: the row against the token. `membership`: by way of another table. */
  readonly kind: 'row' | 'token' | 'claim' | 'membership';
  /** As it reads in a rules file. */
  readonly text: string;
  /** The column of the row that it looks at; undefined when the token alone decides. */
  readonly column: string | undefined;
  /** What the token says, as JSON; undefined when the condition asks nothing of it, `null` when it has no such claim. */
  readonly claim: string | null | undefined;
  /** SQL over the row; `true` or `false` when the token alone decides. NULL counts as false. */
  readonly sql: string;
  /** Of a membership: how to ask which values it gives this token. */
  readonly membership: ConditionMembership | undefined;
}
export interface ConditionMembership {
  readonly table: string;
  /** The column of the membership's table whose values are reached. */
  readonly output: string;
  /** FROM and WHERE over the rows of the membership that are the token's; undefined when the token can have none. */
  readonly from: ((values: SqlValues) => string) | undefined;
  /** The values reached, in a statement with `from`. */
  readonly value: string;
}

/** The alternatives of a stream's WHERE (disjunctive normal form), each with its conditions, for one token. */
export function conditionsOf(
  plan: StreamPlan,
  tokenClaims: unknown,
  values: SqlValues,
): readonly (readonly Condition[])[] {
  return plan.buckets.map((bucket) => conditionsOfAlternative(plan, bucket, tokenClaims, values));
}

function conditionsOfAlternative(
  plan: StreamPlan,
  { filters, claimFilters, params }: BucketPlan,
  tokenClaims: unknown,
  values: SqlValues,
): readonly Condition[] {
  return [
    ...claimFilters.map((filter) => tokenCondition(filter, tokenClaims)),
    ...filters.map((filter) => rowCondition(filter, values)),
    ...params.map((param) => paramCondition(plan, param, tokenClaims, values)),
  ];
}

function tokenCondition(filter: ClaimFilter, tokenClaims: unknown): Condition {
  return {
    kind: 'token',
    text: textOfClaimFilter(filter),
    column: undefined,
    claim: shownClaim(filter.claim, tokenClaims),
    sql: isSatisfied(filter, tokenClaims) ? 'true' : 'false',
    membership: undefined,
  };
}

function rowCondition(filter: RowFilter, values: SqlValues): Condition {
  return {
    kind: 'row',
    text: textOfRowFilter(filter),
    column: filter.column.name,
    claim: undefined,
    sql: filterSql(ROW, filter, values),
    membership: undefined,
  };
}

function paramCondition(plan: StreamPlan, param: BucketParam, tokenClaims: unknown, values: SqlValues): Condition {
  const { column, type, from } = param;
  if (from.kind === 'claim') {
    const text = pgTextFromClaim(type, claimValueOf(from.claim, tokenClaims));
    return {
      kind: 'claim',
      text: `${column.name} = ${textOfClaim(from.claim)}`,
      column: column.name,
      claim: shownClaim(from.claim, tokenClaims),
      sql: text === undefined ? 'false' : equalsText({ alias: ROW, column, type }, text, values),
      membership: undefined,
    };
  }
  const member = plan.memberships[from.membership];
  assert(member, 'the plan has no such membership');
  return membershipCondition(param, member, tokenClaims, values);
}

function membershipCondition(
  param: BucketParam,
  member: MembershipPlan,
  tokenClaims: unknown,
  values: SqlValues,
): Condition {
  const from = membersFrom(member, tokenClaims);
  const value = columnOf(MEMBER, member.output.column);
  const isReached = equalsColumn(value, columnOf(ROW, param.column), param.type);
  const asked = [...member.lookup.map(({ claim }) => claim), ...member.claimFilters.map(({ claim }) => claim)];
  return {
    kind: 'membership',
    text: `${param.column.name} IN (${textOfMembership(member)})`,
    column: param.column.name,
    claim: asked.length === 0 ? undefined : asked.map((claim) => shownClaim(claim, tokenClaims)).join(', '),
    sql: from ? `EXISTS (SELECT ${from(values)} AND ${isReached})` : 'false',
    membership: {
      table: `${member.table.schema}.${member.table.name}`,
      output: member.output.column.name,
      from,
      value,
    },
  };
}

/** Undefined when no row of the membership can be this token's. */
function membersFrom(member: MembershipPlan, tokenClaims: unknown): ((values: SqlValues) => string) | undefined {
  if (!member.claimFilters.every((filter) => isSatisfied(filter, tokenClaims))) return undefined;
  const texts = member.lookup.map(({ type, claim }) => pgTextFromClaim(type, claimValueOf(claim, tokenClaims)));
  if (texts.includes(undefined)) return undefined;
  return (values) => {
    const conditions = [
      `${columnOf(MEMBER, member.output.column)} IS NOT NULL`,
      ...member.filters.map((filter) => filterSql(MEMBER, filter, values)),
      ...member.lookup.map(({ column, type }, i) =>
        equalsText({ alias: MEMBER, column, type }, texts[i] ?? '', values),
      ),
    ];
    return `FROM ${quotedTable(member.table)} ${MEMBER} WHERE ${conditions.join(' AND ')}`;
  };
}

function shownClaim(claim: ClaimRef, tokenClaims: unknown): string | null {
  const value = claimValueOf(claim, tokenClaims);
  return value === undefined ? null : JSON.stringify(value);
}

function textOfClaim({ path }: ClaimRef): string {
  if (path.length === 1 && path[0] === 'sub') return 'auth.user_id()';
  return `auth.claim(${path.map(quotedText).join(', ')})`;
}
function textOfClaimFilter(filter: ClaimFilter): string {
  const claim = textOfClaim(filter.claim);
  const constantText = (value: string | number | boolean): string =>
    typeof value === 'string' ? quotedText(value) : String(value);
  switch (filter.kind) {
    case 'claim-equals':
      return `${claim} = ${constantText(filter.value)}`;
    case 'claim-not-equals':
      return `${claim} <> ${constantText(filter.value)}`;
    case 'claim-one-of':
      return `${claim} IN (${filter.values.map(constantText).join(', ')})`;
  }
}
function textOfRowFilter(filter: RowFilter): string {
  const { name } = filter.column;
  switch (filter.kind) {
    case 'is-null':
      return `${name} IS NULL`;
    case 'is-not-null':
      return `${name} IS NOT NULL`;
    case 'equals':
      return `${name} = ${quotedText(filter.text)}`;
    case 'not-equals':
      return `${name} <> ${quotedText(filter.text)}`;
    case 'one-of':
      return `${name} IN (${filter.texts.map(quotedText).join(', ')})`;
  }
}
function textOfMembership(member: MembershipPlan): string {
  const conditions = [
    ...member.lookup.map(({ column, claim }) => `${column.name} = ${textOfClaim(claim)}`),
    ...member.filters.map(textOfRowFilter),
    ...member.claimFilters.map(textOfClaimFilter),
  ];
  const where = conditions.length === 0 ? '' : ` WHERE ${conditions.join(' AND ')}`;
  return `SELECT ${member.output.column.name} FROM ${member.table.name}${where}`;
}
function quotedText(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

import { type Checked, canonicalConstant, checkCast, comparedTypeOf, nullProblem } from './canonical-constant.ts';
import type { DiagnosticSink, Span } from './diagnostics.ts';
import { atomOf, FALSE, type Formula, TRUE } from './formula.ts';
import type {
  Catalog,
  CatalogColumn,
  ClaimConstant,
  MembershipPlan,
  ParamType,
  RowFilter,
  SourceColumn,
} from './plan.ts';
import type { ColumnName, Comparison, Condition, ConstantValue, Operand, Query } from './query.ts';
import { quoted, resolveColumn, type Scope } from './resolve-names.ts';

export interface CheckContext {
  readonly catalog: Catalog;
  readonly sink: DiagnosticSink;
  readonly scope: Scope;
  /** Checks the SELECT of an IN: one membership for each of its alternatives. */
  readonly checkSubquery: (context: CheckContext, inQuery: InQuery) => readonly MembershipPlan[] | undefined;
}

export interface InQuery {
  readonly query: Query;
  readonly querySpan: Span;
  /** The stream's column before IN, and the type it is compared by. */
  readonly column: CatalogColumn;
  readonly type: ParamType;
  readonly isCast: boolean;
}

/**
 * Checks a WHERE against the catalog and brings it into negation normal form: De Morgan's laws hold in SQL's
 * three-valued logic, and each comparison has an exact opposite that is unknown for the same rows.
 */
export function checkCondition(context: CheckContext, condition: Condition, negated = false): Formula | undefined {
  switch (condition.kind) {
    case 'and':
    case 'or': {
      const args = condition.args.map((arg) => checkCondition(context, arg, negated));
      const kind = (condition.kind === 'and') === negated ? 'or' : 'and';
      return args.every((arg) => arg !== undefined) ? { kind, args } : undefined;
    }
    case 'not':
      return checkCondition(context, condition.arg, !negated);
    case 'constant':
      return condition.value === negated ? FALSE : TRUE;
    case 'is-null':
      return checkNullTest(context, condition.column, condition.negated !== negated);
    case 'bool-column':
      return checkBoolColumn(context, condition.column, negated);
    case 'compare':
      return checkComparison(context, condition, negated ? opposite(condition.operator) : condition.operator);
    case 'in-list':
      return checkInList(context, condition, condition.negated !== negated);
    case 'in-query':
      return checkInQuery(context, condition, negated);
  }
}

function opposite(operator: Comparison): Comparison {
  return operator === '=' ? '<>' : '=';
}

export function sourceColumnOf({ name, typeOid, typmod }: CatalogColumn): SourceColumn {
  return { name, typeOid, typmod };
}

function row(filter: RowFilter): Formula {
  return atomOf({ kind: 'row', filter });
}

function checkNullTest(context: CheckContext, name: ColumnName, isNotNull: boolean): Formula | undefined {
  const column = resolveColumn(context.scope, name, context.sink);
  return column && row({ kind: isNotNull ? 'is-not-null' : 'is-null', column: sourceColumnOf(column) });
}

function checkBoolColumn(context: CheckContext, name: ColumnName, negated: boolean): Formula | undefined {
  const column = resolveColumn(context.scope, name, context.sink);
  if (!column) return undefined;
  const type = comparedTypeOf(column, undefined);
  if (type.kind === 'ok' && type.value === 'bool') {
    return row({ kind: 'equals', column: sourceColumnOf(column), text: negated ? 'f' : 't' });
  }
  return context.sink.refuse(name.span, {
    code: 'RULES_COMPARISON_UNSUPPORTED',
    message: `${quoted(column.name)} is ${column.pgType}, not boolean, so it is not a condition by itself.`,
    hint: 'Compare it: column = value.',
  });
}

type Compare = Extract<Condition, { kind: 'compare' }>;

function checkComparison(context: CheckContext, condition: Compare, operator: Comparison): Formula | undefined {
  const { left, right, span } = condition;
  if (left.kind === 'column' && right.kind !== 'column') return checkColumn(context, left, right, operator, span);
  if (right.kind === 'column' && left.kind !== 'column') return checkColumn(context, right, left, operator, span);
  if (left.kind === 'claim' && right.kind === 'value') return checkClaim(context, left, [right], operator);
  if (right.kind === 'claim' && left.kind === 'value') return checkClaim(context, right, [left], operator);
  if (left.kind === 'column' && right.kind === 'column') {
    // An unknown column is the better thing to say.
    const columns = [left, right].map(({ column }) => resolveColumn(context.scope, column, context.sink));
    if (columns.includes(undefined)) return undefined;
  }
  return context.sink.refuse(span, {
    code: 'RULES_CONDITION_UNSUPPORTED',
    message: left.kind === 'column' ? 'Two columns cannot be compared.' : 'This compares no column.',
    hint: 'One side is a column, or a claim compared with a constant.',
  });
}

type ColumnOperand = Extract<Operand, { kind: 'column' }>;
type ClaimOperand = Extract<Operand, { kind: 'claim' }>;
type ValueOperand = Extract<Operand, { kind: 'value' }>;

function checkColumn(
  context: CheckContext,
  operand: ColumnOperand,
  other: ClaimOperand | ValueOperand,
  operator: Comparison,
  span: Span,
): Formula | undefined {
  if (other.kind === 'value') return checkConstants(context, operand, [other], operator);
  const column = resolveColumn(context.scope, operand.column, context.sink);
  if (!column) return undefined;
  const compared = accepted(context, operand.span, comparedTypeOf(column, operand.cast));
  const type = compared && accepted(context, other.span, checkCast(column, compared, other.cast));
  if (!type) return undefined;
  if (operator === '=') {
    return atomOf({ kind: 'claim-param', column: sourceColumnOf(column), type, claim: { path: other.path } });
  }
  return context.sink.refuse(span, {
    code: 'RULES_CONDITION_UNSUPPORTED',
    message: 'A column can be equal to a claim, not different from it: every other value would be a bucket.',
    hint: 'Turn the condition round, or filter in the client what users may see anyway.',
  });
}

function checkConstants(
  context: CheckContext,
  operand: ColumnOperand,
  values: readonly ValueOperand[],
  operator: Comparison,
): Formula | undefined {
  const column = resolveColumn(context.scope, operand.column, context.sink);
  if (!column) return undefined;
  const type = accepted(context, operand.span, comparedTypeOf(column, operand.cast));
  if (!type) return undefined;
  const texts: string[] = [];
  for (const value of values) {
    const cast = accepted(context, value.span, checkCast(column, type, value.cast));
    const text = cast && accepted(context, value.span, canonicalConstant(column, type, value.value));
    if (text === undefined) return undefined;
    texts.push(text);
  }
  return constantsFormula(sourceColumnOf(column), texts, operator);
}

function constantsFormula(column: SourceColumn, all: readonly string[], operator: Comparison): Formula {
  const texts = [...new Set(all)].sort();
  if (operator === '<>') return { kind: 'and', args: texts.map((text) => row({ kind: 'not-equals', column, text })) };
  const [only] = texts;
  if (texts.length === 1 && only !== undefined) return row({ kind: 'equals', column, text: only });
  return row({ kind: 'one-of', column, texts });
}

function checkInList(
  context: CheckContext,
  { left, items, span }: Extract<Condition, { kind: 'in-list' }>,
  negated: boolean,
): Formula | undefined {
  const operator = negated ? '<>' : '=';
  const values = items.filter((item) => item.kind === 'value');
  const stranger = items.find((item) => item.kind !== 'value');
  if (stranger || left.kind === 'value') {
    return context.sink.refuse(stranger?.span ?? span, {
      code: 'RULES_CONDITION_UNSUPPORTED',
      message: 'An IN list compares a column or a claim with constants.',
      hint: 'Write the other alternatives with OR: column = auth.user_id() OR column = ...',
    });
  }
  return left.kind === 'column'
    ? checkConstants(context, left, values, operator)
    : checkClaim(context, left, values, operator);
}

function checkClaim(
  context: CheckContext,
  { path, cast, span }: ClaimOperand,
  operands: readonly ValueOperand[],
  operator: Comparison,
): Formula | undefined {
  const values: ClaimConstant[] = [];
  for (const operand of operands) {
    const value = accepted(context, operand.span, claimConstantOf(operand.value));
    if (value === undefined) return undefined;
    values.push(value);
  }
  const types = new Set(values.map((value) => typeof value));
  if (cast !== undefined || operands.some((operand) => operand.cast !== undefined) || types.size > 1) {
    return context.sink.refuse(span, {
      code: 'RULES_COMPARISON_UNSUPPORTED',
      message: 'A claim is compared with constants of one JSON type, without casts.',
      hint: "Write auth.claim('role') = 'admin', auth.claim('level') = 3 or auth.claim('staff') = true.",
    });
  }
  return claimFormula(path, values, operator);
}

function claimFormula(path: readonly string[], all: readonly ClaimConstant[], operator: Comparison): Formula {
  const claim = { path };
  const values = [...new Set(all)].sort((a, b) => (a < b ? -1 : 1));
  if (operator === '<>') {
    const args = values.map((value) => atomOf({ kind: 'token', filter: { kind: 'claim-not-equals', claim, value } }));
    return { kind: 'and', args };
  }
  const [only] = values;
  if (values.length === 1 && only !== undefined) {
    return atomOf({ kind: 'token', filter: { kind: 'claim-equals', claim, value: only } });
  }
  return atomOf({ kind: 'token', filter: { kind: 'claim-one-of', claim, values } });
}

function claimConstantOf(value: ConstantValue): Checked<ClaimConstant> {
  switch (value.kind) {
    case 'null':
      return nullProblem;
    case 'text':
      return { kind: 'ok', value: value.text };
    case 'bool':
      return { kind: 'ok', value: value.value };
    case 'int':
      return Number.isSafeInteger(Number(value.value))
        ? { kind: 'ok', value: Number(value.value) }
        : {
            kind: 'problem',
            problem: {
              code: 'RULES_CONSTANT_INVALID',
              message: 'JSON does not hold a number of this size exactly.',
              hint: 'Put large numbers into tokens as text and compare with a quoted constant.',
            },
          };
  }
}

function checkInQuery(
  context: CheckContext,
  { left, query, span, querySpan }: Extract<Condition, { kind: 'in-query' }>,
  negated: boolean,
): Formula | undefined {
  if (negated || left.kind !== 'column') {
    return context.sink.refuse(span, {
      code: 'RULES_SUBQUERY_UNSUPPORTED',
      message: negated ? 'NOT IN (SELECT ...) cannot be synced.' : 'Only a column can be IN (SELECT ...).',
      hint: negated
        ? 'Keep a membership table of what a user may see, not of what a user may not.'
        : 'Write column IN (SELECT ...).',
    });
  }
  const column = resolveColumn(context.scope, left.column, context.sink);
  const type = column && accepted(context, left.span, comparedTypeOf(column, left.cast));
  if (!column || !type) return undefined;
  const memberships = context.checkSubquery(context, {
    query,
    querySpan,
    column,
    type,
    isCast: left.cast !== undefined,
  });
  if (!memberships) return undefined;
  const source = sourceColumnOf(column);
  const args = memberships.map((membership) => atomOf({ kind: 'membership-param', column: source, type, membership }));
  return { kind: 'or', args };
}

/** Unwraps a check's value, or reports its problem. */
export function accepted<T>(context: CheckContext, span: Span, checked: Checked<T>): T | undefined {
  return checked.kind === 'ok' ? checked.value : context.sink.refuse(span, checked.problem);
}

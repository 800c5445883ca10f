import { type ParamType, PG_TYPE } from '@sluice/pg-values';
import { comparedTypeOf } from './canonical-constant.ts';
import { inOrder } from './canonical-json.ts';
import { accepted, type CheckContext, checkCondition, type InQuery, sourceColumnOf } from './check-condition.ts';
import type { Span } from './diagnostics.ts';
import { type Atom, disjunctsOf } from './formula.ts';
import { LIMITS } from './limits.ts';
import type { CatalogColumn, CatalogTable, MembershipPlan, SourceColumn } from './plan.ts';
import type { ColumnName, Query } from './query.ts';
import { quoted, resolveColumn, resolveTable, type Scope } from './resolve-names.ts';

/** Checks `IN (SELECT ...)`: one membership for each disjunct of the subquery's WHERE. */
export function checkMembership(context: CheckContext, inQuery: InQuery): readonly MembershipPlan[] | undefined {
  const { query, querySpan } = inQuery;
  const table = resolveTable(context.catalog, query.from, context.sink);
  if (!table) return undefined;
  const inner: CheckContext = { ...context, scope: { table, from: query.from, outer: context.scope } };
  const output = checkOutput(inner, inQuery);
  if (!query.where) return refuseWithoutClaim(context, querySpan);
  const formula = checkCondition(inner, query.where);
  if (!formula || !output) return undefined;
  const disjuncts = disjunctsOf(formula, LIMITS.disjunctsMax);
  if (disjuncts === 'too-many') {
    return context.sink.refuse(querySpan, {
      code: 'RULES_TOO_MANY_BRANCHES',
      message: `The subquery has more than ${LIMITS.disjunctsMax} alternatives.`,
      hint: 'Write alternatives of one column as column IN (...).',
    });
  }
  if (disjuncts.some((atoms) => !atoms.some((atom) => atom.kind === 'claim-param'))) {
    return refuseWithoutClaim(context, querySpan);
  }
  return disjuncts.map((atoms) => membershipFrom(inner.scope, output, atoms));
}

function refuseWithoutClaim(context: CheckContext, span: Span): undefined {
  return context.sink.refuse(span, {
    code: 'RULES_SUBQUERY_UNSUPPORTED',
    message: 'Every alternative of the subquery must compare a column with a claim, or it holds for every user.',
    hint: 'Add `AND user_column = auth.user_id()` to the subquery.',
  });
}

interface Output {
  readonly column: SourceColumn;
  readonly type: ParamType;
}

function checkOutput(inner: CheckContext, { query, querySpan, column, type, isCast }: InQuery): Output | undefined {
  const name = onlyColumnOf(query);
  if (!name) {
    return inner.sink.refuse(querySpan, {
      code: 'RULES_SUBQUERY_UNSUPPORTED',
      message: 'The subquery must select exactly one column.',
      hint: 'Write IN (SELECT column FROM table WHERE ...).',
    });
  }
  const output = resolveColumn(inner.scope, name, inner.sink);
  const outputType = output && accepted(inner, name.span, comparedTypeOf(output, undefined));
  if (!output || !outputType) return undefined;
  const isOwnKind = needsEqualOid(output) || (!isCast && needsEqualOid(column));
  if (outputType === type && (!isOwnKind || output.baseTypeOid === column.baseTypeOid)) {
    return { column: sourceColumnOf(output), type };
  }
  return inner.sink.refuse(name.span, {
    code: 'RULES_COMPARISON_UNSUPPORTED',
    message: `${quoted(column.name)} (${column.pgType}) cannot be compared with ${quoted(output.name)} (${output.pgType}).`,
    hint: 'Both columns need the same type; integers of any size are one type, and so are text and varchar.',
  });
}

/** Enums compare with their own type only; an integer becomes an oid by wrapping, so -1 would equal 4294967295. */
function needsEqualOid({ typeKind, baseTypeOid }: CatalogColumn): boolean {
  return typeKind === 'e' || baseTypeOid === PG_TYPE.oid;
}

function onlyColumnOf(query: Query): ColumnName | undefined {
  const [item] = query.select;
  return query.select.length === 1 && item?.kind === 'column' ? item.column : undefined;
}

function membershipFrom({ table }: Scope, output: Output, atoms: readonly Atom[]): MembershipPlan {
  return {
    table: { schema: table.schema, name: table.name },
    key: keyColumnsOf(table),
    filters: inOrder(atoms.flatMap((atom) => (atom.kind === 'row' ? [atom.filter] : []))),
    lookup: inOrder(
      atoms.flatMap((atom) =>
        atom.kind === 'claim-param' ? [{ column: atom.column, type: atom.type, claim: atom.claim }] : [],
      ),
    ),
    output,
    claimFilters: inOrder(atoms.flatMap((atom) => (atom.kind === 'token' ? [atom.filter] : []))),
  };
}

function keyColumnsOf(table: CatalogTable): readonly SourceColumn[] {
  return table.primaryKey.flatMap((name) => {
    const column = table.columns.find((candidate) => candidate.name === name);
    return column ? [sourceColumnOf(column)] : [];
  });
}

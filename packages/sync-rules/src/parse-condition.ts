import type { Span } from './diagnostics.ts';
import { LIMITS } from './limits.ts';
import { type ParseContext, parseColumnRef } from './parse-context.ts';
import { parseOperand } from './parse-operand.ts';
import type { Condition, Operand } from './query.ts';
import { type Fields, fieldsOf, listOf, nodeOf, spanOfTree, stringsOf, textOf, unexpectedField } from './sql-tree.ts';

/** Parses a WHERE; every form outside the accepted grammar is refused where it stands. */
export function parseCondition(context: ParseContext, tree: unknown, depth = 0): Condition | undefined {
  if (depth > LIMITS.conditionDepthMax) {
    return refuse(
      context,
      tree,
      'The condition is nested too deeply.',
      'Write it without needless parentheses and NOTs.',
    );
  }
  const node = nodeOf(tree);
  const fields = node?.fields ?? {};
  switch (node?.tag) {
    case 'BoolExpr':
      return parseBoolExpr(context, fields, depth);
    case 'A_Expr':
      return parseComparison(context, tree, fields);
    case 'SubLink':
      return parseInQuery(context, tree, fields);
    case 'NullTest':
      return parseNullTest(context, tree, fields);
    case 'ColumnRef': {
      const column = parseColumnRef(context, node);
      return column ? { kind: 'bool-column', column } : refuseOther(context, tree);
    }
    case 'A_Const':
      return parseConstant(context, tree, fields);
    case 'FuncCall':
      return parseCall(context, tree);
    case 'BooleanTest':
      return refuse(
        context,
        tree,
        'IS TRUE and IS FALSE are not supported.',
        'Write `column` or `NOT column`; to include NULL add `OR column IS NULL`.',
      );
    default:
      return refuseOther(context, tree);
  }
}

function parseBoolExpr(context: ParseContext, fields: Fields, depth: number): Condition | undefined {
  const args = listOf(fields, 'args').map((arg) => parseCondition(context, arg, depth + 1));
  if (!args.every((arg) => arg !== undefined)) return undefined;
  const [only] = args;
  switch (textOf(fields, 'boolop')) {
    case 'AND_EXPR':
      return { kind: 'and', args };
    case 'OR_EXPR':
      return { kind: 'or', args };
    default:
      return only && { kind: 'not', arg: only };
  }
}

const KIND_HINTS: ReadonlyMap<string, readonly [form: string, hint: string]> = new Map([
  ['AEXPR_LIKE', ['LIKE', 'Keep what is matched in a column of its own and compare with =.']],
  ['AEXPR_ILIKE', ['ILIKE', 'Keep what is matched in a column of its own and compare with =.']],
  ['AEXPR_SIMILAR', ['SIMILAR TO', 'Keep what is matched in a column of its own and compare with =.']],
  ['AEXPR_BETWEEN', ['BETWEEN', 'Only equality is supported; filter ranges in the client.']],
  ['AEXPR_NOT_BETWEEN', ['NOT BETWEEN', 'Only equality is supported; filter ranges in the client.']],
  ['AEXPR_DISTINCT', ['IS DISTINCT FROM', 'Write `column <> value OR column IS NULL`.']],
  ['AEXPR_NOT_DISTINCT', ['IS NOT DISTINCT FROM', 'Write `column = value` or `column IS NULL`.']],
  ['AEXPR_OP_ANY', ['= ANY (array)', "Write `column IN ('a', 'b')`, or IN (SELECT ...) over a membership table."]],
  ['AEXPR_OP_ALL', ['ALL (array)', "Write `column NOT IN ('a', 'b')`."]],
]);

function parseComparison(context: ParseContext, tree: unknown, fields: Fields): Condition | undefined {
  const kind = textOf(fields, 'kind');
  const known = KIND_HINTS.get(kind);
  if (known) return refuse(context, tree, `${known[0]} cannot be synced.`, known[1]);
  const names = stringsOf(fields, 'name');
  const operator = names?.length === 1 ? names[0] : undefined;
  if (operator !== '=' && operator !== '<>') return refuseOperator(context, tree, names?.join('.') ?? '');
  const span = spanOfTree(context.text, tree);
  if (kind === 'AEXPR_IN') return parseInList(context, fields, operator === '<>', span);
  if (kind !== 'AEXPR_OP' || fields.lexpr === undefined) return refuseOther(context, tree);
  const left = parseOperand(context, fields.lexpr);
  const right = parseOperand(context, fields.rexpr);
  return left && right && { kind: 'compare', operator, left, right, span };
}

function parseInList(context: ParseContext, fields: Fields, negated: boolean, span: Span): Condition | undefined {
  const list = listOf(fieldsOf(nodeOf(fields.rexpr)?.fields), 'items');
  if (list.length > LIMITS.listItemsMax) {
    return context.sink.refuse(span, {
      code: 'RULES_TOO_MANY_BRANCHES',
      message: `An IN list has at most ${LIMITS.listItemsMax} values.`,
      hint: 'Keep long lists in a membership table.',
    });
  }
  const left = parseOperand(context, fields.lexpr);
  const items: Operand[] = [];
  for (const item of list) {
    const operand = parseOperand(context, item);
    if (operand) items.push(operand);
  }
  return left && items.length === list.length ? { kind: 'in-list', negated, left, items, span } : undefined;
}

function parseInQuery(context: ParseContext, tree: unknown, fields: Fields): Condition | undefined {
  const span = spanOfTree(context.text, fields.testexpr ?? tree);
  const querySpan = spanOfTree(context.text, fields.subselect ?? tree);
  const subselect = nodeOf(fields.subselect);
  const isIn = textOf(fields, 'subLinkType') === 'ANY_SUBLINK' && fields.operName === undefined;
  if (!isIn || subselect?.tag !== 'SelectStmt') {
    return context.sink.refuse(spanOfTree(context.text, tree), {
      code: 'RULES_SUBQUERY_UNSUPPORTED',
      message: 'Only `column IN (SELECT ...)` is supported; this is another kind of subquery.',
      hint: 'Write column IN (SELECT column FROM table WHERE other_column = auth.user_id()).',
    });
  }
  if (!context.parseSubquery) {
    return context.sink.refuse(querySpan, {
      code: 'RULES_SUBQUERY_UNSUPPORTED',
      message: 'Subqueries can be one level deep.',
      hint: 'Keep a table that maps the user directly to the values, for example by a trigger.',
    });
  }
  const left = parseOperand(context, fields.testexpr);
  const query = context.parseSubquery(subselect.fields);
  return left && query && { kind: 'in-query', left, query, span, querySpan };
}

function parseNullTest(context: ParseContext, tree: unknown, fields: Fields): Condition | undefined {
  const arg = nodeOf(fields.arg);
  const column = arg?.tag === 'ColumnRef' ? parseColumnRef(context, arg) : undefined;
  if (column && unexpectedField(fields, ['arg', 'nulltesttype', 'location']) === undefined) {
    return { kind: 'is-null', column, negated: textOf(fields, 'nulltesttype') === 'IS_NOT_NULL' };
  }
  return refuse(
    context,
    tree,
    'IS NULL can test a column only.',
    'A missing claim never matches anything, so claims need no such test.',
  );
}

function parseConstant(context: ParseContext, tree: unknown, fields: Fields): Condition | undefined {
  const value = fields.boolval;
  if (value === undefined)
    return refuse(context, tree, 'A value alone is not a condition.', 'Compare a column with it.');
  return {
    kind: 'constant',
    value: fieldsOf(value).boolval === true,
    span: spanOfTree(context.text, tree),
  };
}

function parseCall(context: ParseContext, tree: unknown): undefined {
  // Reports unknown functions by itself; a claim alone remains.
  const operand = parseOperand(context, tree);
  if (!operand) return undefined;
  return refuse(context, tree, 'A claim alone is not a condition.', "Compare it: auth.claim('name') = true.");
}

function refuseOperator(context: ParseContext, tree: unknown, operator: string): undefined {
  const isJson = operator.startsWith('->') || operator.startsWith('#>');
  return refuse(
    context,
    tree,
    `The operator ${operator} cannot be synced.`,
    isJson
      ? "Claims are read as auth.claim('a', 'b'); columns of JSON cannot be looked into: use a column of its own."
      : 'Only = and <> are supported; filter further in the client.',
  );
}

function refuseOther(context: ParseContext, tree: unknown): undefined {
  return refuse(
    context,
    tree,
    'This condition cannot be synced.',
    'Use equality with claims and constants, IN, IS NULL, boolean columns, AND, OR and NOT.',
  );
}

function refuse(context: ParseContext, tree: unknown, message: string, hint: string): undefined {
  return context.sink.refuse(spanOfTree(context.text, tree), { code: 'RULES_CONDITION_UNSUPPORTED', message, hint });
}

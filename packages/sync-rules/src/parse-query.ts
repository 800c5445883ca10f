import type { DiagnosticSink, Span } from './diagnostics.ts';
import { parseCondition } from './parse-condition.ts';
import { columnNameFrom, columnPartsOf, type ParseContext } from './parse-context.ts';
import type { FromTable, Query, SelectItem } from './query.ts';
import type { QueryText } from './query-text.ts';
import { type Fields, fieldsOf, listOf, nodeOf, parseSql, spanOfTree, textOf, unexpectedField } from './sql-tree.ts';

/** Parses one stream's query and refuses every form outside the accepted grammar. */
export async function parseQuery(text: QueryText, sink: DiagnosticSink): Promise<Query | undefined> {
  const statements = await parseSql(text, sink);
  if (!statements) return undefined;
  const [first, second] = statements;
  if (!first || second) {
    const span = second ? spanOfTree(text, second.stmt) : text.span;
    return sink.refuse(span, {
      code: 'RULES_STATEMENT_UNSUPPORTED',
      message: second ? 'A stream has one statement.' : 'The query holds no statement.',
      hint: second ? 'Move the second SELECT into a stream of its own.' : 'Write a SELECT.',
    });
  }
  const statement = nodeOf(first.stmt);
  if (statement?.tag !== 'SelectStmt') {
    return sink.refuse(text.span, {
      code: 'RULES_STATEMENT_UNSUPPORTED',
      message: 'A stream is a SELECT; this is another statement.',
      hint: 'Write SELECT columns FROM table WHERE condition.',
    });
  }
  const inner: ParseContext = { text, sink, parseSubquery: undefined };
  const outer: ParseContext = { text, sink, parseSubquery: (fields) => parseSelect(inner, fields) };
  return parseSelect(outer, statement.fields);
}

const SELECT_FIELDS = ['targetList', 'fromClause', 'whereClause', 'limitOption', 'op'];

const CLAUSE_NAMES: ReadonlyMap<string, string> = new Map([
  ['distinctClause', 'DISTINCT'],
  ['intoClause', 'INTO'],
  ['groupClause', 'GROUP BY'],
  ['groupDistinct', 'GROUP BY DISTINCT'],
  ['havingClause', 'HAVING'],
  ['windowClause', 'WINDOW'],
  ['valuesLists', 'VALUES'],
  ['sortClause', 'ORDER BY'],
  ['limitOffset', 'OFFSET'],
  ['limitCount', 'LIMIT'],
  ['lockingClause', 'FOR UPDATE or FOR SHARE'],
  ['withClause', 'WITH'],
]);

/** @param fields of a SelectStmt */
function parseSelect(context: ParseContext, fields: Fields): Query | undefined {
  const { text, sink } = context;
  if (textOf(fields, 'op') !== 'SETOP_NONE') {
    return sink.refuse(spanOfTree(text, fields), {
      code: 'RULES_STATEMENT_UNSUPPORTED',
      message: 'UNION, INTERSECT and EXCEPT cannot be synced.',
      hint: 'Use OR in the WHERE, or two streams with the same `table`: clients see the union of both.',
    });
  }
  const extra = unexpectedField(fields, SELECT_FIELDS);
  if (extra !== undefined || textOf(fields, 'limitOption') !== 'LIMIT_OPTION_DEFAULT') {
    const clause = CLAUSE_NAMES.get(extra ?? 'limitCount') ?? 'This clause';
    return sink.refuse(spanOfTree(text, extra === undefined ? fields : fields[extra]), {
      code: 'RULES_CLAUSE_UNSUPPORTED',
      message: `${clause} cannot be synced: a stream says which rows a client holds, not how it reads them.`,
      hint: 'Leave it out and sort, group, limit or join in the client, where all synced rows are local.',
    });
  }
  const from = parseFrom(context, fields);
  const select = parseSelectList(context, listOf(fields, 'targetList'), spanOfTree(text, fields));
  const where = fields.whereClause;
  const condition = where === undefined ? undefined : parseCondition(context, where);
  if (!from || !select || (where !== undefined && !condition)) return undefined;
  return { select, from, where: condition };
}

function parseFrom(context: ParseContext, fields: Fields): FromTable | undefined {
  const { text, sink } = context;
  const items = listOf(fields, 'fromClause');
  if (items.length === 0) {
    return sink.refuse(spanOfTree(text, fields), {
      code: 'RULES_STATEMENT_UNSUPPORTED',
      message: 'The SELECT has no FROM.',
      hint: 'Name the table to sync: SELECT * FROM table.',
    });
  }
  const node = nodeOf(items[0]);
  const range = node?.fields ?? {};
  const span = spanOfTree(text, items[0]);
  if (items.length > 1 || node?.tag !== 'RangeVar') {
    const isJoin = items.length > 1 || node?.tag === 'JoinExpr';
    return sink.refuse(items.length > 1 ? spanOfTree(text, items[1]) : span, {
      code: 'RULES_CLAUSE_UNSUPPORTED',
      message: isJoin ? 'A stream reads one table; joins cannot be synced.' : 'FROM must name a table.',
      hint: isJoin
        ? 'Sync both tables as streams and join in the client; to filter by another table, use column IN (SELECT ...).'
        : 'Subqueries and functions in FROM are not supported; name an ordinary table.',
    });
  }
  const problem = rangeProblem(range);
  if (problem) return sink.refuse(span, { code: 'RULES_CLAUSE_UNSUPPORTED', ...problem });
  const alias = textOf(fieldsOf(range.alias), 'aliasname');
  return {
    schema: textOf(range, 'schemaname') || undefined,
    name: textOf(range, 'relname'),
    alias: alias || undefined,
    span,
  };
}

function rangeProblem(range: Fields): { message: string; hint: string } | undefined {
  if (range.inh !== true) {
    return {
      message: 'ONLY is not supported.',
      hint: 'Leave ONLY out: a stream reads the rows of the named table itself.',
    };
  }
  const extra = unexpectedField(range, ['schemaname', 'relname', 'inh', 'relpersistence', 'alias', 'location']);
  if (extra !== undefined) return { message: 'A table is named by schema and name only.', hint: 'Write schema.table.' };
  if (unexpectedField(fieldsOf(range.alias), ['aliasname']) !== undefined) {
    return { message: 'A table alias cannot rename columns.', hint: 'Write `FROM table AS alias`, and AS in SELECT.' };
  }
  return undefined;
}

function parseSelectList(
  context: ParseContext,
  targets: readonly unknown[],
  span: Span,
): readonly SelectItem[] | undefined {
  if (targets.length === 0) {
    return context.sink.refuse(span, {
      code: 'RULES_SELECT_UNSUPPORTED',
      message: 'The select list is empty.',
      hint: 'Write `*` or the columns to sync.',
    });
  }
  const items = targets.map((target) => parseSelectItem(context, target));
  return items.every((item) => item !== undefined) ? items : undefined;
}

function parseSelectItem(context: ParseContext, target: unknown): SelectItem | undefined {
  const node = nodeOf(target);
  const fields = node?.fields ?? {};
  const value = nodeOf(fields.val);
  const span = spanOfTree(context.text, target);
  if (node?.tag !== 'ResTarget' || unexpectedField(fields, ['name', 'val', 'location']) || value?.tag !== 'ColumnRef') {
    return context.sink.refuse(span, {
      code: 'RULES_SELECT_UNSUPPORTED',
      message: 'Only columns can be selected; this is an expression.',
      hint: 'Select the columns that it needs and compute it in the client.',
    });
  }
  const parts = columnPartsOf(value);
  const alias = textOf(fields, 'name') || undefined;
  if (parts?.star && alias === undefined) return { kind: 'star', qualifier: parts.names, span };
  const column = parts && columnNameFrom(parts, span);
  if (column) return { kind: 'column', column, alias, span };
  return context.sink.refuse(span, {
    code: 'RULES_SELECT_UNSUPPORTED',
    message: 'This is not a column of the table.',
    hint: 'Write column, table.column or schema.table.column.',
  });
}

import type { DiagnosticSink, Span } from './diagnostics.ts';
import type { ColumnName, Query } from './query.ts';
import type { QueryText } from './query-text.ts';
import { type Fields, listOf, nodeOf, type SqlNode, spanOfTree, textOf, unexpectedField } from './sql-tree.ts';

/** What the parsers of one query share. */
export interface ParseContext {
  readonly text: QueryText;
  readonly sink: DiagnosticSink;
  /** Parses the SELECT of an IN; undefined inside one, since subqueries are one level deep. */
  readonly parseSubquery: ((fields: Fields) => Query | undefined) | undefined;
}

/** @returns undefined when the reference is not a plain column; the caller says what was expected there */
export function parseColumnRef(context: ParseContext, node: SqlNode): ColumnName | undefined {
  const parts = columnPartsOf(node);
  return parts && columnNameFrom(parts, spanOfTree(context.text, node.fields));
}

export interface ColumnParts {
  readonly names: readonly string[];
  /** Whether it ends in `*`. */
  readonly star: boolean;
}

export function columnPartsOf(node: SqlNode): ColumnParts | undefined {
  if (unexpectedField(node.fields, ['fields', 'location']) !== undefined) return undefined;
  const nodes = listOf(node.fields, 'fields').map(nodeOf);
  const star = nodes.at(-1)?.tag === 'A_Star';
  const names = (star ? nodes.slice(0, -1) : nodes).map((part) =>
    part?.tag === 'String' ? textOf(part.fields, 'sval') : '',
  );
  return names.length <= 3 && names.every((name) => name !== '') ? { names, star } : undefined;
}

export function columnNameFrom(parts: ColumnParts, span: Span): ColumnName | undefined {
  const name = parts.names.at(-1);
  if (parts.star || name === undefined) return undefined;
  return { qualifier: parts.names.slice(0, -1), name, span };
}

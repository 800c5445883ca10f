import { parse, SqlError } from 'libpg-query';
import type { DiagnosticSink, Span } from './diagnostics.ts';
import type { QueryText } from './query-text.ts';

export type Fields = Readonly<Record<string, unknown>>;

/** A node of Postgres' parse tree: libpg_query prints `{"Tag": {fields}}` and leaves out fields that are zero or empty. */
export interface SqlNode {
  readonly tag: string;
  readonly fields: Fields;
}

/**
 * Parses with the grammar of Postgres itself.
 * @returns the statements, or undefined when the sink was told of a syntax error
 */
export async function parseSql(text: QueryText, sink: DiagnosticSink): Promise<readonly Fields[] | undefined> {
  try {
    const tree: unknown = await parse(text.sql);
    return listOf(fieldsOf(tree), 'stmts').map(fieldsOf);
  } catch (error) {
    // Deep nesting ends in a RangeError of the engine instead of the grammar's own "memory exhausted".
    if (error instanceof RangeError) return sink.refuse(text.span, tooDeep);
    if (!(error instanceof SqlError)) throw error;
    const span = text.spanOfCodePoint(error.sqlDetails?.cursorPosition ?? 0);
    if (error.message.startsWith('memory exhausted')) return sink.refuse(span, tooDeep);
    return sink.refuse(span, {
      code: 'RULES_SQL_SYNTAX',
      message: `Postgres cannot parse this: ${error.message}.`,
      hint: hintFor(text.sql),
    });
  }
}

const tooDeep = {
  code: 'RULES_CONDITION_UNSUPPORTED',
  message: 'The query is nested too deeply.',
  hint: 'Write the condition without needless parentheses and NOTs.',
} as const;

function hintFor(sql: string): string {
  if (/(?<!:):[A-Za-z_]/.test(sql)) return "Parameters are function calls here: auth.user_id(), auth.claim('name').";
  return 'Check the words before this place; names with capitals or spaces stand in double quotes, text in single quotes.';
}

export function fieldsOf(value: unknown): Fields {
  return typeof value === 'object' && value !== null ? (value as Fields) : {};
}

export function nodeOf(value: unknown): SqlNode | undefined {
  const [entry] = Object.entries(fieldsOf(value));
  return entry && { tag: entry[0], fields: fieldsOf(entry[1]) };
}

export function listOf(fields: Fields, key: string): readonly unknown[] {
  const value = fields[key];
  return Array.isArray(value) ? value : [];
}

export function textOf(fields: Fields, key: string): string {
  const value = fields[key];
  return typeof value === 'string' ? value : '';
}

/** The strings of a list of String nodes; undefined when something else stands among them. */
export function stringsOf(fields: Fields, key: string): readonly string[] | undefined {
  const strings: string[] = [];
  for (const item of listOf(fields, key)) {
    const node = nodeOf(item);
    if (node?.tag !== 'String') return undefined;
    strings.push(textOf(node.fields, 'sval'));
  }
  return strings;
}

/** The first field outside the list: everything that the grammar knows and we do not is refused by this. */
export function unexpectedField(fields: Fields, known: readonly string[]): string | undefined {
  return Object.keys(fields).find((key) => !known.includes(key));
}

/** The stretch of the file that a subtree was written in, from its first token to its last. */
export function spanOfTree(text: QueryText, tree: unknown): Span {
  let first = Number.MAX_SAFE_INTEGER;
  let last = -1;
  const rest: unknown[] = [tree];
  while (rest.length > 0) {
    const value = rest.pop();
    if (typeof value !== 'object' || value === null) continue;
    for (const [key, field] of Object.entries(value)) {
      if (key === 'location' && typeof field === 'number' && field >= 0) {
        first = Math.min(first, field);
        last = Math.max(last, field);
      } else rest.push(field);
    }
  }
  return last < 0 ? text.span : text.spanOfBytes(first, last);
}

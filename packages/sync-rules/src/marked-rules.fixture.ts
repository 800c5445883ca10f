/** A rules file in which «these marks» say where a diagnostic is expected. */
export interface MarkedRules {
  readonly yaml: string;
  readonly line: number;
  readonly column: number;
  readonly endLine: number;
  readonly endColumn: number;
}

/** Takes the marks out and counts the place that they stood at, in UTF-16 code units from 1. */
export function marked(text: string): MarkedRules {
  const start = placeOf(text.slice(0, text.indexOf('«')));
  const end = placeOf(text.slice(0, text.indexOf('»')).replace('«', ''));
  const yaml = text.replace('«', '').replace('»', '');
  return { yaml, line: start.line, column: start.column, endLine: end.line, endColumn: end.column };
}

function placeOf(before: string): { line: number; column: number } {
  const lines = before.split('\n');
  return { line: lines.length, column: (lines.at(-1) ?? '').length + 1 };
}

/** A rules file of one stream, its query in a literal block. */
export function oneStream(query: string, rest = ''): string {
  const body = query
    .split('\n')
    .map((line) => `      ${line}`)
    .join('\n');
  return `version: 1\nstreams:\n  s:\n    query: |\n${body}\n${rest}`;
}

import { isMap, isScalar, Lexer, type Node, type Pair, parseDocument, type Scalar, type YAMLMap } from 'yaml';
import type { DiagnosticSink, Span } from './diagnostics.ts';
import { LIMITS } from './limits.ts';
import { nearestName } from './nearest-name.ts';
import { WRITE_POLICIES, type WritePolicy } from './plan.ts';
import { fileOffsetsOf, QueryText, type ScalarStyle } from './query-text.ts';

/** One entry of `streams`, its names checked and its query not yet parsed. */
export interface RawStream {
  readonly name: string;
  readonly nameSpan: Span;
  readonly query: QueryText;
  readonly table: { readonly name: string; readonly span: Span } | undefined;
  /** Added by the compiler, so that its names may begin with `sluice_`. */
  readonly isOurs: boolean;
}

/** The key `writes`, its policies checked and its tables not yet looked for. */
export interface RawWrites {
  readonly span: Span;
  readonly role: string;
  readonly tables: readonly RawWritableTable[];
}
export interface RawWritableTable {
  readonly name: string;
  readonly span: Span;
  readonly policy: WritePolicy;
}

export interface RawRules {
  readonly streams: readonly RawStream[];
  readonly writes: RawWrites | undefined;
}

/**
 * Reads the YAML of a rules file. Everything that is not a plain map or text is refused before the document is
 * composed, so aliases cannot multiply and nesting cannot exhaust the stack.
 * @returns what is well formed; problems go to the sink
 */
export function parseRulesFile(text: string, sink: DiagnosticSink): RawRules {
  if (!withinLimits(text, sink) || !isPlainYaml(text, sink)) return NOTHING;
  const document = parseDocument(text, {
    // Every scalar stays the text that was written: a stream may be called `no`.
    schema: 'failsafe',
    uniqueKeys: false,
    prettyErrors: false,
    logLevel: 'error',
  });
  for (const error of document.errors.slice(0, 20)) {
    sink.refuse(
      { start: error.pos[0], end: error.pos[1] },
      {
        code: error.code === 'MULTIPLE_DOCS' ? 'RULES_YAML_UNSUPPORTED' : 'RULES_YAML_INVALID',
        message: `This is not valid YAML: ${error.message}.`,
        hint: 'Indent with spaces, two for each level, and put queries under `query: |`.',
      },
    );
  }
  return sink.hasErrors ? NOTHING : readRoot(text, document.contents, sink);
}

const NOTHING: RawRules = { streams: [], writes: undefined };

/** Control characters but for blanks, and halves of surrogate pairs: SQL would end at a NUL. */
const UNPRINTABLE = /[^\P{Cc}\t\n\r]|\p{Surrogate}/u;

function withinLimits(text: string, sink: DiagnosticSink): boolean {
  const nowhere = { start: 0, end: 0 };
  if (text.length > LIMITS.fileBytesMax || new TextEncoder().encode(text).length > LIMITS.fileBytesMax) {
    sink.refuse(nowhere, {
      code: 'RULES_TOO_LARGE',
      message: `The rules file is larger than ${LIMITS.fileBytesMax / 1024} KB.`,
      hint: 'Remove streams that no client reads, or put rarely changing lists into a membership table.',
    });
    return false;
  }
  const control = UNPRINTABLE.exec(text);
  if (!control) return true;
  sink.refuse(
    { start: control.index, end: control.index + 1 },
    {
      code: 'RULES_YAML_INVALID',
      message: 'The rules file holds a control character or half of a surrogate pair.',
      hint: 'Remove it; rules files are plain UTF-8 text.',
    },
  );
  return false;
}

/** Lexemes that stand for YAML features rules files do not have. */
const REFUSED_LEXEMES: ReadonlyMap<string, string> = new Map([
  ['&', 'an anchor'],
  ['*', 'an alias'],
  ['!', 'a tag'],
  ['%', 'a directive'],
  ['?', 'an explicit key'],
  ['-', 'a list'],
]);

/** A pass over the lexemes only: linear, with no recursion, whatever the text. */
function isPlainYaml(text: string, sink: DiagnosticSink): boolean {
  let at = 0;
  let tokens = 0;
  let flowDepth = 0;
  let inScalar = false;
  for (const lexeme of new Lexer().lex(text)) {
    const span = { start: at, end: at + lexeme.length };
    // The lexer's own marks: document start, and "the next lexeme is a scalar".
    if (lexeme === '\u0002' || lexeme === '\u0018') continue;
    if (lexeme === '\u001f') {
      inScalar = true;
      continue;
    }
    at += lexeme.length;
    tokens++;
    if (tokens > LIMITS.yamlTokensMax) {
      sink.refuse(span, {
        code: 'RULES_TOO_LARGE',
        message: `The rules file has more than ${LIMITS.yamlTokensMax} YAML tokens.`,
        hint: 'Remove streams, keys and comments that nobody needs.',
      });
      return false;
    }
    const feature = inScalar ? undefined : featureOf(lexeme);
    if (feature) {
      sink.refuse(span, {
        code: 'RULES_YAML_UNSUPPORTED',
        message: `Rules files do not use ${feature}.`,
        hint: 'Write plain maps and text; put a value that begins with this character in quotes.',
      });
      return false;
    }
    if (!inScalar && (lexeme === '{' || lexeme === '[')) flowDepth++;
    if (!inScalar && (lexeme === '}' || lexeme === ']')) flowDepth--;
    if (flowDepth > LIMITS.yamlFlowDepthMax) {
      sink.refuse(span, {
        code: 'RULES_YAML_UNSUPPORTED',
        message: 'Brackets are nested too deeply.',
        hint: 'A rules file is two levels of maps: streams, and the keys of each stream.',
      });
      return false;
    }
    inScalar = false;
  }
  return true;
}

function featureOf(lexeme: string): string | undefined {
  if (lexeme === '---' || lexeme === '...') return undefined;
  return REFUSED_LEXEMES.get(lexeme[0] ?? '');
}

interface Entry {
  readonly key: string;
  readonly keySpan: Span;
  readonly value: Node | null;
}

function readRoot(text: string, contents: Node | null, sink: DiagnosticSink): RawRules {
  if (!isMap(contents)) {
    sink.refuse(spanOf(contents) ?? { start: 0, end: 0 }, {
      code: 'RULES_SHAPE_INVALID',
      message: 'A rules file is a map with the keys `version`, `streams` and, if wanted, `writes`.',
      hint: 'Begin with `version: 1`, then `streams:` and under it one entry a stream.',
    });
    return NOTHING;
  }
  const entries = entriesOf(contents, ['version', 'streams', 'writes'], 'a rules file', sink);
  const version = entries.get('version');
  if (!version) missing(contents, 'version', '`version: 1` says which edition of the rules language this is.', sink);
  else if (!isScalar(version.value) || version.value.value !== '1') {
    sink.refuse(spanOf(version.value) ?? version.keySpan, {
      code: 'RULES_SHAPE_INVALID',
      message: 'The version of the rules language is not known.',
      hint: 'Write `version: 1`.',
    });
  }
  const writes = entries.get('writes');
  const streams = entries.get('streams');
  if (!streams) missing(contents, 'streams', 'Add `streams:` and under it one entry a stream.', sink);
  return {
    streams: streams ? readStreams(text, streams, sink) : [],
    writes: writes && readWrites(writes, sink),
  };
}

function readStreams(text: string, streams: Entry, sink: DiagnosticSink): readonly RawStream[] {
  if (!isMap(streams.value) || streams.value.items.length === 0) {
    sink.refuse(spanOf(streams.value) ?? streams.keySpan, {
      code: 'RULES_SHAPE_INVALID',
      message: '`streams` must be a map with at least one stream.',
      hint: 'Under `streams:` write a name, and under it `query: |` with the SQL.',
    });
    return [];
  }
  if (streams.value.items.length > LIMITS.streamsMax) {
    sink.refuse(streams.keySpan, {
      code: 'RULES_TOO_LARGE',
      message: `There are more than ${LIMITS.streamsMax} streams.`,
      hint: 'Merge streams that read one table, with OR between their conditions.',
    });
    return [];
  }
  const found: RawStream[] = [];
  for (const entry of entriesOf(streams.value, undefined, '`streams`', sink).values()) {
    const stream = readStream(text, entry, sink);
    if (stream) found.push(stream);
  }
  return found;
}

const STREAM_NAME = /^[A-Za-z_][A-Za-z0-9_-]{0,62}$/;

function readStream(text: string, entry: Entry, sink: DiagnosticSink): RawStream | undefined {
  if (/^sluice_/i.test(entry.key)) {
    return sink.refuse(entry.keySpan, {
      code: 'RULES_NAME_INVALID',
      message: 'Stream names that begin with `sluice_` are reserved.',
      hint: 'Rename the stream.',
    });
  }
  if (!STREAM_NAME.test(entry.key)) {
    return sink.refuse(entry.keySpan, {
      code: 'RULES_NAME_INVALID',
      message: 'A stream name has 1 to 63 letters, digits, `_` or `-` of ASCII and begins with a letter or `_`.',
      hint: 'Rename the stream; clients subscribe to it by this name.',
    });
  }
  if (!isMap(entry.value)) {
    return sink.refuse(spanOf(entry.value) ?? entry.keySpan, {
      code: 'RULES_SHAPE_INVALID',
      message: `Stream \`${entry.key}\` must be a map with the key \`query\`.`,
      hint: 'Write `query: |` under the name, and the SQL under that.',
    });
  }
  const keys = entriesOf(entry.value, ['query', 'table'], 'a stream', sink);
  const query = keys.get('query');
  if (!query) return missing(entry.value, 'query', 'Write `query: |` and under it the SQL of the stream.', sink);
  const scalar = textOf(query, sink);
  const tableEntry = keys.get('table');
  const table = tableEntry ? readTableName(tableEntry, sink) : undefined;
  if (!scalar || (tableEntry && !table)) return undefined;
  const queryText = readQuery(text, query, scalar, sink);
  return queryText && { name: entry.key, nameSpan: entry.keySpan, query: queryText, table, isOurs: false };
}

function readWrites(entry: Entry, sink: DiagnosticSink): RawWrites | undefined {
  if (!isMap(entry.value)) {
    return sink.refuse(spanOf(entry.value) ?? entry.keySpan, {
      code: 'RULES_SHAPE_INVALID',
      message: '`writes` must be a map with the keys `role` and `tables`.',
      hint: 'Write `role:` with the role that writes are made as, and `tables:` with the tables that may be written.',
    });
  }
  const keys = entriesOf(entry.value, ['role', 'tables'], '`writes`', sink);
  const roleEntry = keys.get('role');
  const tablesEntry = keys.get('tables');
  if (!roleEntry) missing(entry.value, 'role', 'Write `role:` and the role that writes are made as.', sink);
  if (!tablesEntry)
    missing(entry.value, 'tables', 'Write `tables:` and under it the tables that may be written.', sink);
  const role = roleEntry && readRole(roleEntry, sink);
  const tables = tablesEntry && readWritableTables(tablesEntry, sink);
  return role === undefined || !tables ? undefined : { span: entry.keySpan, role, tables };
}

function readRole(entry: Entry, sink: DiagnosticSink): string | undefined {
  const scalar = textOf(entry, sink);
  if (!scalar) return undefined;
  const bytes = new TextEncoder().encode(scalar.value).length;
  const isName = bytes > 0 && bytes <= LIMITS.nameBytesMax && !/\p{Cc}/u.test(scalar.value);
  // Postgres reserves the word: SET ROLE NONE gives a role back.
  if (isName && scalar.value.toLowerCase() !== 'none') return scalar.value;
  return sink.refuse(spanOf(scalar) ?? entry.keySpan, {
    code: 'RULES_NAME_INVALID',
    message: 'This cannot be the name of a role.',
    hint: 'Write the name of a role of the source that is under row-level security, as `pg_roles` shows it.',
  });
}

function readWritableTables(entry: Entry, sink: DiagnosticSink): readonly RawWritableTable[] | undefined {
  if (!isMap(entry.value) || entry.value.items.length === 0) {
    return sink.refuse(spanOf(entry.value) ?? entry.keySpan, {
      code: 'RULES_SHAPE_INVALID',
      message: '`tables` must be a map with at least one table.',
      hint: 'Under `tables:` write `<client table>: { policy: merge }`, or remove `writes`.',
    });
  }
  const tables: RawWritableTable[] = [];
  for (const table of entriesOf(entry.value, undefined, '`tables`', sink).values()) {
    const policy = readPolicy(table, sink);
    if (policy) tables.push({ name: table.key, span: table.keySpan, policy });
  }
  return tables;
}

function readPolicy(table: Entry, sink: DiagnosticSink): WritePolicy | undefined {
  if (!isMap(table.value)) {
    return sink.refuse(spanOf(table.value) ?? table.keySpan, {
      code: 'RULES_SHAPE_INVALID',
      message: `\`${printable(table.key)}\` must be a map.`,
      hint: 'Write `{ policy: merge }`, or `{}` for the same.',
    });
  }
  const entry = entriesOf(table.value, ['policy'], 'a writable table', sink).get('policy');
  if (!entry) return 'merge';
  const scalar = textOf(entry, sink);
  if (!scalar) return undefined;
  const policy = WRITE_POLICIES.find((name) => name === scalar.value);
  if (policy) return policy;
  const near = nearestName(scalar.value, WRITE_POLICIES);
  return sink.refuse(spanOf(scalar) ?? entry.keySpan, {
    code: 'RULES_WRITES_POLICY_UNKNOWN',
    message: `\`${printable(scalar.value)}\` is not a policy.`,
    hint: near === undefined ? `The policies are ${WRITE_POLICIES.join(', ')}.` : `Did you mean \`${near}\`?`,
  });
}

function readQuery(text: string, entry: Entry, scalar: Scalar<string>, sink: DiagnosticSink): QueryText | undefined {
  const span = spanOf(scalar) ?? entry.keySpan;
  if (scalar.value.trim() === '') {
    return sink.refuse(entry.keySpan, {
      code: 'RULES_SHAPE_INVALID',
      message: 'The query is empty.',
      hint: 'Write `query: |` and under it, indented, a SELECT.',
    });
  }
  if (new TextEncoder().encode(scalar.value).length > LIMITS.queryBytesMax) {
    return sink.refuse(span, {
      code: 'RULES_TOO_LARGE',
      message: `The query is longer than ${LIMITS.queryBytesMax / 1024} KB.`,
      hint: 'Split the stream, or keep long lists of values in a membership table.',
    });
  }
  return new QueryText(scalar.value, fileOffsetsOf(text, span.start, scalar.value, styleOf(scalar)));
}

function readTableName(entry: Entry, sink: DiagnosticSink): { name: string; span: Span } | undefined {
  const scalar = textOf(entry, sink);
  if (!scalar) return undefined;
  const span = spanOf(scalar) ?? entry.keySpan;
  const problem = clientNameProblem(scalar.value);
  if (problem === undefined) return { name: scalar.value, span };
  return sink.refuse(span, { code: 'RULES_NAME_INVALID', message: problem, hint: 'Choose another client table name.' });
}

/** What keeps a name from being a table or column in a client's SQLite, if anything does. */
export function clientNameProblem(name: string): string | undefined {
  if (name === '') return 'A name cannot be empty.';
  if (new TextEncoder().encode(name).length > LIMITS.nameBytesMax) {
    return `A name cannot be longer than ${LIMITS.nameBytesMax} bytes.`;
  }
  if (/[\p{Cc}\p{Cf}\p{Surrogate}]/u.test(name))
    return 'A name cannot hold control or invisible formatting characters.';
  if (/^_?(sqlite|sluice)_/i.test(name)) return 'Names that begin with `sqlite_` or `sluice_` are reserved.';
  return undefined;
}

/** The entries of a map by key; unknown and repeated keys are refused. */
function entriesOf(
  map: YAMLMap<unknown, unknown>,
  known: readonly string[] | undefined,
  where: string,
  sink: DiagnosticSink,
): Map<string, Entry> {
  const entries = new Map<string, Entry>();
  for (const pair of map.items as readonly Pair<Node | null, Node | null>[]) {
    const keySpan = spanOf(pair.key) ?? spanOf(map) ?? { start: 0, end: 0 };
    const key = isScalar(pair.key) && typeof pair.key.value === 'string' ? pair.key.value : undefined;
    if (key === undefined || (known && !known.includes(key))) {
      sink.refuse(keySpan, {
        code: 'RULES_SHAPE_INVALID',
        message: key === undefined ? 'A key must be text.' : `\`${printable(key)}\` is not a key of ${where}.`,
        hint: known ? `${known.length === 1 ? 'The key is' : 'The keys are'} ${listed(known)}.` : 'Write a name.',
      });
    } else if (entries.has(key)) {
      sink.refuse(keySpan, {
        code: 'RULES_SHAPE_INVALID',
        message: `\`${printable(key)}\` stands twice in ${where}.`,
        hint: 'Remove or rename one of them.',
      });
    } else entries.set(key, { key, keySpan, value: pair.value });
  }
  return entries;
}

function textOf(entry: Entry, sink: DiagnosticSink): Scalar<string> | undefined {
  if (isScalar<string>(entry.value) && typeof entry.value.value === 'string') {
    if (!UNPRINTABLE.test(entry.value.value)) return entry.value;
    return sink.refuse(spanOf(entry.value) ?? entry.keySpan, {
      code: 'RULES_YAML_INVALID',
      message: `\`${entry.key}\` holds an escape for a control character or half of a surrogate pair.`,
      hint: 'Remove the escape; only tabs and line ends are allowed among control characters.',
    });
  }
  return sink.refuse(spanOf(entry.value) ?? entry.keySpan, {
    code: 'RULES_SHAPE_INVALID',
    message: `\`${entry.key}\` must be text.`,
    hint: `Write \`${entry.key}:\` and then the text, in quotes if it holds special characters.`,
  });
}

function missing(map: YAMLMap<unknown, unknown>, key: string, hint: string, sink: DiagnosticSink): undefined {
  const span = spanOf(map) ?? { start: 0, end: 0 };
  return sink.refuse(
    { start: span.start, end: span.start },
    { code: 'RULES_SHAPE_INVALID', message: `\`${key}\` is missing.`, hint },
  );
}

function spanOf(node: Node | null | undefined): Span | undefined {
  return node?.range ? { start: node.range[0], end: node.range[1] } : undefined;
}

function styleOf(scalar: Scalar): ScalarStyle {
  if (scalar.type === 'BLOCK_LITERAL' || scalar.type === 'BLOCK_FOLDED') return 'block';
  if (scalar.type === 'QUOTE_SINGLE') return 'single-quoted';
  return scalar.type === 'QUOTE_DOUBLE' ? 'double-quoted' : 'plain';
}

function listed(keys: readonly string[]): string {
  const names = keys.map((key) => `\`${key}\``);
  return names.length < 2 ? names.join('') : `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`;
}

function printable(text: string): string {
  return text.length > 40 ? `${text.slice(0, 40)}…` : text;
}

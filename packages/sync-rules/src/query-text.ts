import type { Span } from './diagnostics.ts';

/** How a scalar stands in the YAML file; each style hides other characters. */
export type ScalarStyle = 'block' | 'plain' | 'single-quoted' | 'double-quoted';

/**
 * A query as SQL sees it, with the way back to the file it came from. Three units meet here: the parser's syntax errors
 * count code points, its tree counts UTF-8 bytes, editors count UTF-16 code units.
 */
export class QueryText {
  readonly sql: string;
  /** File offset of each UTF-16 unit of `sql`; one more entry for its end. */
  readonly #fileOffsets: Int32Array;
  #unitOfByte: Int32Array | undefined;

  constructor(sql: string, fileOffsets: Int32Array) {
    this.sql = sql;
    this.#fileOffsets = fileOffsets;
  }

  /** The whole query, without white space around it. */
  get span(): Span {
    const start = this.sql.length - this.sql.trimStart().length;
    return this.#fileSpan(Math.min(start, this.sql.trimEnd().length), this.sql.trimEnd().length);
  }

  /** From the token at byte `first` to the end of the token at byte `last`. */
  spanOfBytes(first: number, last: number): Span {
    const units = this.#units();
    const start = units[Math.min(Math.max(first, 0), units.length - 1)] ?? 0;
    const end = units[Math.min(Math.max(last, 0), units.length - 1)] ?? 0;
    return this.#fileSpan(start, closedEnd(this.sql, start, tokenEnd(this.sql, end)));
  }

  /** The token at a position counted in code points. */
  spanOfCodePoint(index: number): Span {
    let unit = 0;
    for (let i = 0; i < index && unit < this.sql.length; i++) unit += unitsAt(this.sql, unit);
    const end = this.sql.trimEnd().length;
    return unit < end ? this.#fileSpan(unit, tokenEnd(this.sql, unit)) : this.#fileSpan(end, end);
  }

  #fileSpan(start: number, end: number): Span {
    const from = this.#fileOffsets[start] ?? 0;
    const last = end > start ? this.#fileOffsets[end - 1] : undefined;
    return { start: from, end: last === undefined ? from : last + 1 };
  }

  #units(): Int32Array {
    this.#unitOfByte ??= unitOfByteOf(this.sql);
    return this.#unitOfByte;
  }
}

function unitsAt(text: string, at: number): 1 | 2 {
  return (text.codePointAt(at) ?? 0) > 0xffff ? 2 : 1;
}

function unitOfByteOf(text: string): Int32Array {
  const units: number[] = [];
  for (let at = 0; at < text.length; at += unitsAt(text, at)) {
    const point = text.codePointAt(at) ?? 0;
    const bytes = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    for (let i = 0; i < bytes; i++) units.push(at);
  }
  units.push(text.length);
  return Int32Array.from(units);
}

const NAME = String.raw`(?:"(?:[^"]|"")*"|[\p{L}_][\p{L}\p{M}\p{N}_$]*)`;
const TOKEN = new RegExp(
  String.raw`${NAME}(?:\.(?:${NAME}|\*))*(?:\(\))?|'(?:[^']|'')*'|[\d.][\w.]*|[-+*/<>=~!@#%^&|?]+|::|\p{Any}`,
  'uy',
);

function tokenEnd(sql: string, start: number): number {
  TOKEN.lastIndex = start;
  const token = TOKEN.exec(sql);
  return token ? start + token[0].length : start;
}

/** Goes on to the `)` of the last `(` that is open, so that a call is marked whole. */
function closedEnd(sql: string, start: number, end: number): number {
  let depth = 0;
  for (let at = start; at < sql.length; ) {
    if (at >= end && depth <= 0) return end;
    const next = tokenEnd(sql, at);
    if (sql[at] === '(') depth++;
    if (sql[at] === ')' && --depth === 0 && next > end) return next;
    at = next;
  }
  return end;
}

const BLANK = new Set([' ', '\t', '\n', '\r']);

/**
 * Finds each character of a scalar's value in the file again. YAML folds and strips only blanks and escapes, so every
 * other character stands in the file in the same order.
 * @param start offset of the scalar's first character: its quote, `|` or `>`, or first letter
 */
export function fileOffsetsOf(file: string, start: number, value: string, style: ScalarStyle): Int32Array {
  const offsets = new Int32Array(value.length + 1);
  let at = style === 'block' ? file.indexOf('\n', start) + 1 || file.length : style === 'plain' ? start : start + 1;
  let lastEnd = at;
  for (let i = 0; i < value.length; i++) {
    const char = value[i] as string;
    if (style === 'double-quoted') at = skipContinuations(file, at);
    if (!BLANK.has(char)) at = skipBlanks(file, at, style);
    offsets[i] = at;
    if (BLANK.has(char)) {
      if (style === 'double-quoted' && file[at] === '\\') at += escapeLength(file, at);
      else if (BLANK.has(file[at] ?? '')) at += file[at] === '\r' && char === '\n' ? 2 : 1;
      continue;
    }
    if (style === 'double-quoted' && file[at] === '\\') {
      at += escapeLength(file, at);
      if (isHighSurrogate(char) && i + 1 < value.length) offsets[++i] = offsets[i - 1] as number;
    } else at += style === 'single-quoted' && char === "'" ? 2 : 1;
    lastEnd = at;
  }
  offsets[value.length] = lastEnd;
  return offsets;
}

function skipBlanks(file: string, from: number, style: ScalarStyle): number {
  let at = from;
  while (BLANK.has(file[at] ?? '')) at++;
  if (style !== 'double-quoted') return at;
  const past = skipContinuations(file, at);
  return past === at ? at : skipBlanks(file, past, style);
}

/** A backslash before a line's end in a double-quoted scalar stands for nothing. */
function skipContinuations(file: string, at: number): number {
  const continuation = /\\\r?\n[ \t]*/y;
  continuation.lastIndex = at;
  return continuation.test(file) ? continuation.lastIndex : at;
}

function escapeLength(file: string, at: number): number {
  const kind = file[at + 1];
  return kind === 'x' ? 4 : kind === 'u' ? 6 : kind === 'U' ? 10 : 2;
}

function isHighSurrogate(char: string): boolean {
  const unit = char.charCodeAt(0);
  return unit >= 0xd800 && unit <= 0xdbff;
}

import type { Code } from '@sluice/errors';
import { LIMITS } from './limits.ts';
import type { Diagnostic } from './plan.ts';

/** A stretch of the rules file, in UTF-16 code units from its start; `end` is exclusive. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

export interface Problem {
  readonly code: Code;
  readonly message: string;
  readonly hint: string;
}

/** Collects what is wrong with one rules file and turns offsets into lines and columns. */
export class DiagnosticSink {
  readonly #lineStarts: readonly number[];
  readonly #length: number;
  readonly #errors: Diagnostic[] = [];
  readonly #warnings: Diagnostic[] = [];

  constructor(text: string) {
    const starts = [0];
    for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) starts.push(at + 1);
    this.#lineStarts = starts;
    this.#length = text.length;
  }

  /** Returns undefined, so that a check can end with `return sink.refuse(...)`. */
  refuse(span: Span, problem: Problem): undefined {
    if (this.#errors.length < LIMITS.diagnosticsMax) this.#errors.push(this.#diagnosticFrom(span, problem));
  }
  warn(span: Span, problem: Problem): void {
    if (this.#warnings.length < LIMITS.diagnosticsMax) this.#warnings.push(this.#diagnosticFrom(span, problem));
  }

  get hasErrors(): boolean {
    return this.#errors.length > 0;
  }
  /** In the order of the file. */
  get errors(): readonly Diagnostic[] {
    return this.#errors.toSorted(byPlace);
  }
  get warnings(): readonly Diagnostic[] {
    return this.#warnings.toSorted(byPlace);
  }

  #diagnosticFrom(span: Span, { code, message, hint }: Problem): Diagnostic {
    const start = this.#place(span.start);
    const end = this.#place(Math.max(span.end, span.start));
    return {
      code,
      message,
      hint,
      line: start.line,
      column: start.column,
      endLine: end.line,
      endColumn: end.column,
    };
  }

  #place(offset: number): { line: number; column: number } {
    const at = Math.min(Math.max(offset, 0), this.#length);
    let low = 0;
    let high = this.#lineStarts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.#lineStarts[middle] ?? 0) <= at) low = middle;
      else high = middle - 1;
    }
    return { line: low + 1, column: at - (this.#lineStarts[low] ?? 0) + 1 };
  }
}

function byPlace(a: Diagnostic, b: Diagnostic): number {
  return a.line - b.line || a.column - b.column;
}

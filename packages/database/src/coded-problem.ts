import { type Code, type ErrorDetails, isCode } from '@sluice/errors';
import { type Json, jsonColumn } from './json.ts';

/** Why something is in a failed state: a code of the catalogue and the values for the places in its remedy. */
export interface CodedProblem {
  readonly code: Code;
  readonly details: ErrorDetails;
}

export function problemColumns(problem: CodedProblem | undefined) {
  return {
    errorCode: problem?.code ?? null,
    errorDetails: jsonColumn(problem?.details as Json | undefined), // ErrorDetails holds nothing that JSON cannot.
  };
}

/** A code of a newer release is shown as an internal error rather than trusted to be in this catalogue. */
export function problemFromColumns(row: { errorCode: string | null; errorDetails: unknown }): CodedProblem | undefined {
  if (row.errorCode === null) return undefined;
  const code = isCode(row.errorCode) ? row.errorCode : 'API_INTERNAL';
  return { code, details: (row.errorDetails ?? {}) as ErrorDetails }; // Written by `problemColumns` alone.
}

import { AppError } from '@sluice/errors';

/** The one error of this package: source bytes that are no message. `at` is an offset, so that no row value is shown. */
export function protocolError(problem: string, at: number): AppError {
  return new AppError('SOURCE_PROTOCOL', { internal: `${problem} at byte ${at}`, details: { problem } });
}

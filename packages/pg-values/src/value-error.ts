import { AppError } from '@sluice/errors';

/** A value that is not as Postgres prints its type under the pinned settings. Says the type, never the value. */
export function valueError(problem: string, typeOid: number): AppError {
  return new AppError('SOURCE_VALUE', { internal: `${problem}, type ${typeOid}`, details: { typeOid } });
}

import { AppError, type Code, isAppError } from '@sluice/errors';
import { type ClientErrorInfo, SluiceError } from '../types.ts';

/** What an app may see of an error. */
export function errorInfo(error: unknown): ClientErrorInfo {
  const coded = isAppError(error) ? error : new AppError('CLIENT_STORAGE_FAILED', { cause: error });
  return { code: coded.code, message: coded.publicMessage, remedy: coded.remedy };
}

/** The public form of whatever was thrown. */
export function sluiceError(error: unknown): SluiceError {
  return error instanceof SluiceError ? error : new SluiceError(errorInfo(error), { cause: error });
}
/** An error of the catalogue, for the rims of this SDK. */
export function coded(code: Code & `CLIENT_${string}`, reason?: string): AppError {
  return new AppError(code, { details: reason === undefined ? {} : { reason } });
}

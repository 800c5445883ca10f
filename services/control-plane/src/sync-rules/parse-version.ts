import { AppError } from '@sluice/errors';

/** A version that cannot be one is as missing as one that could. @throws AppError RULES_VERSION_NOT_FOUND */
export function parseVersion(text: string): number {
  if (!/^[1-9][0-9]{0,8}$/.test(text)) throw new AppError('RULES_VERSION_NOT_FOUND');
  return Number(text);
}

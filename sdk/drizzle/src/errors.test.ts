import { AppError, type Code } from '@sluice/errors';
import { expect, test } from 'vitest';
import { columnsUnnamed, transactionUnsupported } from './errors.ts';

test('what the driver throws is what the catalogue says', () => {
  for (const { code, message, remedy } of [columnsUnnamed(), transactionUnsupported()]) {
    const known = new AppError(code as Code);
    expect({ message, remedy }).toEqual({
      message: `${code}: ${known.publicMessage} ${known.remedy}`,
      remedy: known.remedy,
    });
  }
});

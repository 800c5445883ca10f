import { AppError } from '@sluice/errors';
import { expect, test } from 'vitest';
import { BINDING_CODES, bindingError, onServerError } from './errors.ts';

test('what the hooks throw is what the catalogue says', () => {
  for (const code of BINDING_CODES) {
    const { publicMessage, remedy } = new AppError(code);
    expect(bindingError(code)).toMatchObject({ code, remedy, message: `${code}: ${publicMessage} ${remedy}` });
  }
  expect(onServerError().code).toBe('CLIENT_ON_SERVER');
});

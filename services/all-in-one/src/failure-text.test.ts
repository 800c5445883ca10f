import { AppError } from '@sluice/errors';
import { describe, expect, it } from 'vitest';
import { failureText } from './failure-text.ts';

describe('what a failed start tells', () => {
  it('a coded error comes with its public message and remedy, and nothing internal', () => {
    const text = failureText(new AppError('STORE_UNAVAILABLE', { internal: 'connect to 10.1.2.3' }));
    expect(text).toContain('STORE_UNAVAILABLE');
    expect(text).toContain('Bring the bucket store back');
    expect(text).not.toContain('10.1.2.3');
  });

  it.each([
    [Object.assign(new Error('no space left'), { code: 'ENOSPC' }), 'disk space'],
    [Object.assign(new Error('denied'), { code: 'EACCES' }), 'SLUICE_HOME'],
    [new Error('/home/x is in use: process 7 runs its server'), 'Stop the other'],
    [new Error('something else'), '--fresh'],
  ])('%s names what to do', (error, remedy) => {
    expect(failureText(error)).toContain(remedy);
  });
});

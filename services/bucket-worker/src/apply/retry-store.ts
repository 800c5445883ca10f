import { type Clock, delay } from '@sluice/domain';
import { isAppError } from '@sluice/errors';

const FIRST_DELAY_MS = 50;
const DELAY_MS_MAX = 5_000;

export interface Retry {
  readonly attempt: number;
  readonly retryInMs: number;
  readonly error: unknown;
}

/**
 * Calls the store until it answers: while it does not, nothing is skipped. Other errors go to the caller. Rejects with
 * the signal's reason when the signal is aborted while waiting.
 */
export async function retryStore<T>(
  call: () => Promise<T>,
  options: { readonly clock: Clock; readonly signal: AbortSignal; readonly onRetry: (retry: Retry) => void },
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await call();
    } catch (error) {
      if (!isAppError(error, 'STORE_UNAVAILABLE')) throw error;
      const retryInMs = Math.min(FIRST_DELAY_MS * 2 ** (attempt - 1), DELAY_MS_MAX);
      options.onRetry({ attempt, retryInMs, error });
      await delay(options.clock, retryInMs, options.signal);
      options.signal.throwIfAborted();
    }
  }
}

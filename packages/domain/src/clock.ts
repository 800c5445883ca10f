/** The only way that code may read the time or wait; handed in, so that tests drive it. */
export interface Clock {
  /** Unix time, milliseconds. */
  nowMs(): number;
  /** Monotonic, milliseconds, fractional; only differences mean anything. */
  monotonicMs(): number;
  /** Calls `fn` once after `delayMs`; the returned function cancels. */
  setTimer(delayMs: number, fn: () => void): () => void;
}

/** Resolves after `delayMs`, or at once when the signal is aborted; never rejects. */
export function delay(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const cancel = clock.setTimer(delayMs, done);
    function done(): void {
      cancel();
      signal?.removeEventListener('abort', done);
      resolve();
    }
    signal?.addEventListener('abort', done);
  });
}

import type { BucketStore } from '@sluice/bucket-store';
import { type Clock, delay, type LeaseToken, type ProjectId } from '@sluice/domain';
import { AppError } from '@sluice/errors';

export interface LeaseOptions {
  readonly store: BucketStore;
  readonly project: ProjectId;
  readonly clock: Clock;
  /** Names this process among all holders. */
  readonly holder: string;
  readonly ttlMs: number;
}

/** The right to work on a source. `signal` is aborted as soon as it may have been lost; all work must stop then. */
export interface HeldLease {
  readonly token: LeaseToken;
  readonly signal: AbortSignal;
  /** Gives the lease back. */
  release(): Promise<void>;
}

/** Waits for the lease, asking four times in its lifetime; undefined when aborted. @throws AppError STORE_UNAVAILABLE */
export async function waitForLease(options: LeaseOptions, signal: AbortSignal): Promise<HeldLease | undefined> {
  while (!signal.aborted) {
    const askedAtMs = options.clock.monotonicMs();
    const token = await options.store.acquireLease(options.project, options.holder, options.ttlMs);
    if (token !== undefined) return holdLease(options, token, askedAtMs);
    await delay(options.clock, options.ttlMs / 4, signal);
  }
  return undefined;
}

function holdLease(options: LeaseOptions, token: LeaseToken, takenAtMs: number): HeldLease {
  const { store, project, clock, ttlMs } = options;
  const lost = new AbortController();
  const stop = new AbortController();
  const renewing = renew();
  return {
    token,
    signal: lost.signal,
    async release() {
      stop.abort();
      await renewing;
      if (!lost.signal.aborted) await store.releaseLease(project, token).catch(() => {});
    },
  };

  async function renew(): Promise<void> {
    let renewedAtMs = takenAtMs;
    for (;;) {
      await delay(clock, ttlMs / 3, stop.signal);
      if (stop.signal.aborted) return;
      const askedAtMs = clock.monotonicMs();
      const isHeld = await store.renewLease(project, token, ttlMs).catch(() => undefined);
      if (isHeld) renewedAtMs = askedAtMs;
      // The store counts from when it answered, we from when we asked: we never believe in it longer than the store.
      if (isHeld === false || clock.monotonicMs() - renewedAtMs >= ttlMs - ttlMs / 6) {
        lost.abort(new AppError('STORE_FENCED', { internal: 'the lease was lost' }));
        return;
      }
    }
  }
}

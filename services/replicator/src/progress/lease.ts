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

/** Share of its lifetime after which a lease that was not renewed is given up. */
const believedShare = 5 / 6;

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
  let cancelDeadline = (): void => {};
  believeUntil(takenAtMs + ttlMs * believedShare);
  const renewing = renew();
  return {
    token,
    signal: lost.signal,
    async release() {
      stop.abort();
      cancelDeadline();
      await renewing;
      if (!lost.signal.aborted) await store.releaseLease(project, token).catch(() => {});
    },
  };

  async function renew(): Promise<void> {
    const either = AbortSignal.any([stop.signal, lost.signal]);
    for (;;) {
      await delay(clock, ttlMs / 3, either);
      if (either.aborted) return;
      const askedAtMs = clock.monotonicMs();
      // A store that does not answer is asked again; the deadline says when that no longer helps.
      const asked = store.renewLease(project, token, ttlMs).catch(() => undefined);
      const isHeld = await Promise.race([asked, delay(clock, ttlMs / 3, either).then(() => undefined)]);
      if (either.aborted) return;
      if (isHeld === false) lose();
      // The store counts from when it answered, we from when we asked: we never believe in it longer than the store.
      if (isHeld) believeUntil(askedAtMs + ttlMs * believedShare);
    }
  }

  function believeUntil(monotonicMs: number): void {
    cancelDeadline();
    cancelDeadline = clock.setTimer(monotonicMs - clock.monotonicMs(), lose);
  }

  function lose(): void {
    lost.abort(new AppError('STORE_FENCED', { internal: 'the lease was lost' }));
  }
}

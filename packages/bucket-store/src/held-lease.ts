import { type Clock, delay, type LeaseToken, type ProjectId, type ShardLeaseToken } from '@sluice/domain';
import { AppError } from '@sluice/errors';
import type { BucketStore } from './port.ts';

export interface LeaseOptions {
  readonly store: Pick<
    BucketStore,
    'acquireLease' | 'renewLease' | 'releaseLease' | 'acquireShardLease' | 'renewShardLease' | 'releaseShardLease'
  >;
  readonly project: ProjectId;
  readonly clock: Clock;
  /** Names this process among all holders. */
  readonly holder: string;
  readonly ttlMs: number;
}

/** Share of its lifetime after which a lease that was not renewed is given up. */
const believedShare = 5 / 6;

/** The right to work. `signal` is aborted as soon as it may have been lost; all work must stop then. */
export interface HeldLease<Token = LeaseToken> {
  readonly token: Token;
  readonly signal: AbortSignal;
  /** Gives the lease back. */
  release(): Promise<void>;
}

/**
 * Waits for the source's lease, asking four times in its lifetime; undefined when aborted.
 * @throws AppError STORE_UNAVAILABLE
 */
export function waitForLease(options: LeaseOptions, signal: AbortSignal): Promise<HeldLease | undefined> {
  const { store, project, holder, ttlMs } = options;
  return waitFor(options, signal, {
    acquire: () => store.acquireLease(project, holder, ttlMs),
    renew: (token) => store.renewLease(project, token, ttlMs),
    release: (token) => store.releaseLease(project, token),
  });
}

/** As waitForLease, for one shard's. */
export function waitForShardLease(
  options: LeaseOptions & { readonly shard: number },
  signal: AbortSignal,
): Promise<HeldLease<ShardLeaseToken> | undefined> {
  const { store, project, shard, holder, ttlMs } = options;
  return waitFor(options, signal, {
    acquire: () => store.acquireShardLease(project, shard, holder, ttlMs),
    renew: (token) => store.renewShardLease(project, shard, token, ttlMs),
    release: (token) => store.releaseShardLease(project, shard, token),
  });
}

interface LeaseCalls<Token> {
  acquire(): Promise<Token | undefined>;
  renew(token: Token): Promise<boolean>;
  release(token: Token): Promise<void>;
}
type LeaseTimes = Pick<LeaseOptions, 'clock' | 'ttlMs'>;

async function waitFor<Token>(
  times: LeaseTimes,
  signal: AbortSignal,
  calls: LeaseCalls<Token>,
): Promise<HeldLease<Token> | undefined> {
  while (!signal.aborted) {
    const takenAtMs = times.clock.monotonicMs();
    const token = await calls.acquire();
    if (token !== undefined) return holdLease(times, calls, { token, takenAtMs });
    await delay(times.clock, times.ttlMs / 4, signal);
  }
  return undefined;
}

function holdLease<Token>(
  { clock, ttlMs }: LeaseTimes,
  calls: LeaseCalls<Token>,
  { token, takenAtMs }: { readonly token: Token; readonly takenAtMs: number },
): HeldLease<Token> {
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
      if (!lost.signal.aborted) await calls.release(token).catch(() => {});
    },
  };

  async function renew(): Promise<void> {
    const either = AbortSignal.any([stop.signal, lost.signal]);
    for (;;) {
      await delay(clock, ttlMs / 3, either);
      if (either.aborted) return;
      const askedAtMs = clock.monotonicMs();
      // A store that does not answer is asked again; the deadline says when that no longer helps.
      const asked = calls.renew(token).catch(() => undefined);
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

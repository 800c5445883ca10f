import { randomBytes } from 'node:crypto';
import { type BucketStore, type HeldLease, waitForShardLease } from '@sluice/bucket-store';
import type { Clock, ProjectId, ShardLeaseToken } from '@sluice/domain';
import { isAppError } from '@sluice/errors';
import type { OpQueue, WakeUps } from '@sluice/op-queue';
import type { Logger, Metrics } from '@sluice/telemetry';
import { retryStore } from './apply/retry-store.ts';
import { ShardApplier } from './apply/shard-applier.ts';
import { workerEvents } from './events.ts';
import { runShards } from './take/run-shards.ts';
import { takeFrames } from './take/take-frames.ts';

export interface BucketWorkerOptions {
  readonly store: BucketStore;
  readonly queue: OpQueue;
  readonly wakeUps: WakeUps;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics?: Metrics | undefined;
  /**
   * Names this process among all that may hold shards; a random one if left out. One that stays the same lets a process that
   * was killed take its shards back at once, and is only safe where two of them cannot run at a time.
   */
  readonly holder?: string | undefined;
  /** How long a shard's lease lives without being renewed, milliseconds. */
  readonly leaseTtlMs?: number | undefined;
  /** Told whenever a shard's lease was taken here, and when it was lost or given back. */
  readonly onLease?: ((project: ProjectId, shard: number, isHeld: boolean) => void) | undefined;
}

export interface BucketWorker {
  /**
   * Applies the frames of one shard of a project until the signal is aborted; resolves when nothing is under way. Waits for
   * the shard's lease first, and again whenever it is lost: the store refuses all but its holder (L3).
   * @throws what stopped the shard (L17); the project's condition in the store then says so, and no frame was skipped
   */
  run(project: ProjectId, shard: number, signal: AbortSignal): Promise<void>;
  /**
   * As `run`, for all shards of the project, however their number changes. @throws what stopped one of them, once none is
   * under way any more
   */
  runProject(project: ProjectId, signal: AbortSignal): Promise<void>;
}

const DEFAULT_LEASE_TTL_MS = 15_000;

/** Joins take (queue to frames in order) and apply (frame to chunks, chunks to the store). */
export function createBucketWorker(options: BucketWorkerOptions): BucketWorker {
  const events = workerEvents(options.logger, options.metrics);
  const holder = options.holder ?? `bucket-worker-${randomBytes(8).toString('hex')}`;
  const ttlMs = options.leaseTtlMs ?? DEFAULT_LEASE_TTL_MS;

  /** Applies while the lease is held. */
  async function apply(
    of: { readonly project: ProjectId; readonly shard: number },
    lease: HeldLease<ShardLeaseToken>,
    signal: AbortSignal,
  ): Promise<void> {
    const { store, queue, wakeUps, clock } = options;
    const ended = AbortSignal.any([signal, lease.signal]);
    const applier = new ShardApplier({ ...of, shardLeaseToken: lease.token, store, wakeUps, clock, events }, ended);
    try {
      await takeFrames({ queue, ...of }, applier, ended);
    } finally {
      applier.close();
    }
  }

  async function run(project: ProjectId, shard: number, signal: AbortSignal): Promise<void> {
    const { store, clock } = options;
    while (!signal.aborted) {
      const lease = await retryStore(() => waitForShardLease({ store, project, shard, clock, holder, ttlMs }, signal), {
        clock,
        signal,
        onRetry: (retry) => events.storeUnavailable(project, retry),
      }).catch(unlessAborted(signal));
      if (!lease) break;
      events.started(project, shard);
      options.onLease?.(project, shard, true);
      try {
        await apply({ project, shard }, lease, signal);
      } catch (error) {
        if (!isShardLost(error)) throw error;
      } finally {
        await lease.release();
        options.onLease?.(project, shard, false);
      }
      if (!signal.aborted) events.lost(project, shard);
    }
    events.stopped(project, shard);
  }

  return {
    run,
    runProject: (project, signal) =>
      runShards({ ...options, project, run: (shard, stop) => run(project, shard, stop) }, signal),
  };
}

/** Another worker took the shard, so a frame of ours was refused. */
function isShardLost(error: unknown): boolean {
  return isAppError(error, 'STORE_FENCED') && error.details.lease === 'shard';
}

function unlessAborted(signal: AbortSignal): (error: unknown) => undefined {
  return (error) => {
    if (!signal.aborted) throw error;
  };
}

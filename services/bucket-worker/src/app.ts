import type { BucketStore } from '@sluice/bucket-store';
import type { Clock, ProjectId } from '@sluice/domain';
import type { OpQueue, WakeUps } from '@sluice/op-queue';
import type { Logger, Metrics } from '@sluice/telemetry';
import { ShardApplier } from './apply/shard-applier.ts';
import { workerEvents } from './events.ts';
import { takeFrames } from './take/take-frames.ts';

export interface BucketWorkerOptions {
  readonly store: BucketStore;
  readonly queue: OpQueue;
  readonly wakeUps: WakeUps;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics?: Metrics | undefined;
}

export interface BucketWorker {
  /**
   * Applies the frames of one shard of a project until the signal is aborted; resolves when nothing is under way. One
   * worker per (project, shard) at a time works best, but the store keeps two of them exact (L3).
   * @throws what stopped the shard (L17); the project's condition in the store then says so, and no frame was skipped
   */
  run(project: ProjectId, shard: number, signal: AbortSignal): Promise<void>;
}

/** Joins take (queue to frames in order) and apply (frame to chunks, chunks to the store). */
export function createBucketWorker(options: BucketWorkerOptions): BucketWorker {
  const events = workerEvents(options.logger, options.metrics);
  return {
    async run(project, shard, signal) {
      const { store, queue, wakeUps, clock } = options;
      events.started(project, shard);
      const applier = new ShardApplier({ project, shard, store, wakeUps, clock, events }, signal);
      try {
        await takeFrames({ queue, project, shard }, applier, signal);
      } finally {
        applier.close();
      }
      events.stopped(project, shard);
    },
  };
}

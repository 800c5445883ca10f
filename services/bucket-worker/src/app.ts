import type { BucketStore } from '@sluice/bucket-store';
import type { Clock, ProjectId } from '@sluice/domain';
import type { OpQueue, WakeUps } from '@sluice/op-queue';
import type { Logger, Metrics } from '@sluice/telemetry';
import { workerEvents } from './events.ts';
import { ShardWorker } from './take/shard-worker.ts';

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
      await new ShardWorker({ project, shard, store, queue, wakeUps, clock, events }, signal).run();
      events.stopped(project, shard);
    },
  };
}

import type { BucketStore } from '@sluice/bucket-store';
import type { Clock, ProjectId } from '@sluice/domain';
import type { OpQueue, WakeUps } from '@sluice/op-queue';
import type { Logger } from '@sluice/telemetry';
import { createWorkerEvents } from './events.ts';
import { runShard } from './take/run-shard.ts';

export interface BucketWorkerOptions {
  readonly store: BucketStore;
  readonly queue: OpQueue;
  readonly wakeUps: WakeUps;
  readonly clock: Clock;
  readonly logger: Logger;
}
export interface BucketWorker {
  /** Applies one shard's frames until the signal is aborted; rejects when the project must stop (L17). */
  run(project: ProjectId, shard: number, signal: AbortSignal): Promise<void>;
}

export function createBucketWorker(options: BucketWorkerOptions): BucketWorker {
  const events = createWorkerEvents(options.logger, undefined);
  return { run: (project, shard, signal) => runShard({ ...options, events, project, shard }, signal) };
}

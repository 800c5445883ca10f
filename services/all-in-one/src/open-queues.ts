import type { Clock } from '@sluice/domain';
import {
  createMemoryOpQueue,
  createMemoryWakeUps,
  createRedisOpQueue,
  createRedisWakeUps,
  type OpQueue,
  type WakeUps,
} from '@sluice/op-queue';
import type { Logger } from '@sluice/telemetry';

/** Frames of one project that may wait between replicator and worker; then the source's socket is paused (L16). */
const QUEUE_BYTES_MAX = 64 * 1024 * 1024;
/**
 * The same within this process, whose memory they take. What is being applied counts: one full frame that is stored and one that
 * is evaluated meanwhile; the next ones wait in the replicator's outbox.
 */
const MEMORY_QUEUE_BYTES_MAX = 12 * 1024 * 1024;

/** What joins the parts of a data plane. */
export interface Queues {
  readonly queue: OpQueue;
  readonly wakeUps: WakeUps;
}
export interface OpenQueues extends Queues {
  close(): Promise<void>;
}

/** Queues within this process. */
export function memoryQueues(): Queues {
  return { queue: createMemoryOpQueue({ bytesMaxPerShard: MEMORY_QUEUE_BYTES_MAX }), wakeUps: createMemoryWakeUps() };
}

/** Queues over Redis, or within this process without a URL. @throws AppError QUEUE_UNAVAILABLE and others: see the adapters */
export async function openQueues(
  redisUrl: string | undefined,
  { clock, logger }: { readonly clock: Clock; readonly logger: Logger },
): Promise<OpenQueues> {
  if (redisUrl === undefined) return { ...memoryQueues(), close: async () => {} };
  const onTrouble = (error: Error): void => logger.warn('redis queue in trouble', { error });
  const shared = { url: redisUrl, clock, onTrouble };
  const queue = await createRedisOpQueue({ ...shared, bytesMaxPerShard: QUEUE_BYTES_MAX });
  try {
    const wakeUps = await createRedisWakeUps(shared);
    return {
      queue,
      wakeUps,
      async close() {
        await queue.close();
        await wakeUps.close();
      },
    };
  } catch (error) {
    await queue.close();
    throw error;
  }
}

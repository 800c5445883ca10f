import { randomUUID } from 'node:crypto';
import { type Clock, delay } from '@sluice/domain';
import { AppError } from '@sluice/errors';
import type { Catalog } from '@sluice/sync-rules';
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import type {
  ApplyProgress,
  AuditFindings,
  CheckResult,
  RowExplanation,
  SourceProvisioner,
  StreamPreview,
} from './source-provisioner.ts';
import { answerFrom, progressFrom, QUEUE_BY_KIND, QUEUE_PREFIX, type Step, wantedKey } from './step.ts';

export interface RemoteProvisioner extends SourceProvisioner {
  close(): Promise<void>;
}

/** A step that nobody has taken up after this time has nobody to take it. */
const QUESTION_TAKEN_WITHIN_MS = 5_000;
const WORK_TAKEN_WITHIN_MS = 30_000;
/** Results and progress are looked for this often. */
const LOOK_EVERY_MS = 100;
/** How long a step is still wanted when its asker says nothing any more. */
const WANTED_MS = 6_000;
/** What became of a step is kept for this long, in case the answer is asked for late. */
const KEPT_S = 60;

/** Steps on sources, as jobs that a replicator process takes. An asker that stops or dies takes its step back. */
export function createRemoteProvisioner(options: {
  readonly redisUrl: string;
  readonly clock: Clock;
  readonly onError: (error: unknown) => void;
}): RemoteProvisioner {
  const { clock, redisUrl: url, onError } = options;
  const connection = { url, maxRetriesPerRequest: null };
  const queues = new Map(
    Object.values(QUEUE_BY_KIND).map((name) => [name, new Queue(name, { connection, prefix: QUEUE_PREFIX })] as const),
  );
  const redis = new Redis(url, { maxRetriesPerRequest: 1 });
  redis.on('error', onError);
  for (const queue of queues.values()) queue.on('error', onError);

  async function ask(
    step: Step,
    signal: AbortSignal,
    onProgress: (progress: ApplyProgress) => Promise<void> = async () => {},
  ): Promise<unknown> {
    const queue = queues.get(QUEUE_BY_KIND[step.kind]);
    if (!queue) throw new AppError('SOURCE_STEP_FAILED', { internal: `no queue for ${step.kind}` });
    const jobId = randomUUID();
    const stillWanted = (): Promise<unknown> => redis.set(wantedKey(jobId), '1', 'PX', WANTED_MS);
    try {
      await stillWanted();
      const keep = { age: KEPT_S };
      await queue.add(step.kind, step, { jobId, removeOnComplete: keep, removeOnFail: keep });
      return await answerOf({ queue, jobId, stillWanted, onProgress, step }, signal);
    } finally {
      // Whoever works on it stops; when it is done already, nobody looks.
      await redis.del(wantedKey(jobId)).catch(onError);
    }
  }

  async function answerOf(
    asked: {
      readonly queue: Queue;
      readonly jobId: string;
      readonly stillWanted: () => Promise<unknown>;
      readonly onProgress: (progress: ApplyProgress) => Promise<void>;
      readonly step: Step;
    },
    signal: AbortSignal,
  ): Promise<unknown> {
    const { queue, jobId, stillWanted, onProgress, step } = asked;
    const isQuestion = QUEUE_BY_KIND[step.kind] === 'source-questions';
    const takenWithinMs = isQuestion ? QUESTION_TAKEN_WITHIN_MS : WORK_TAKEN_WITHIN_MS;
    let activeMs = clock.monotonicMs();
    let wantedMs = activeMs;
    let shown = '';
    for (;;) {
      await delay(clock, LOOK_EVERY_MS, signal);
      signal.throwIfAborted();
      const job = await queue.getJob(jobId);
      // Redis forgot it; whether it was done cannot be known, and every step may be done again.
      if (!job) throw new AppError('SOURCE_STEP_FAILED', { internal: 'the queue lost the step' });
      const progress = progressFrom(job.progress);
      if (progress && JSON.stringify(progress) !== shown) {
        shown = JSON.stringify(progress);
        await onProgress(progress);
      }
      const state = await job.getState();
      if (state === 'completed') return answerFrom((await queue.getJob(jobId))?.returnvalue ?? job.returnvalue);
      if (state === 'failed') throw new AppError('SOURCE_STEP_FAILED', { internal: job.failedReason });
      const nowMs = clock.monotonicMs();
      if (state === 'active') activeMs = nowMs;
      if (nowMs - activeMs > takenWithinMs) {
        await job.remove().catch(onError);
        throw new AppError('SOURCE_WORKER_MISSING');
      }
      if (nowMs - wantedMs < WANTED_MS / 4) continue;
      wantedMs = nowMs;
      await stillWanted();
    }
  }

  const never = new AbortController().signal;
  return {
    // What comes back is what a replicator of the same edition answered.
    async preflight({ projectId }, tables) {
      return (await ask({ kind: 'preflight', projectId, tables }, never)) as readonly CheckResult[];
    },
    async catalog({ projectId }) {
      return (await ask({ kind: 'catalog', projectId }, never)) as Catalog;
    },
    async estimateRows({ projectId }, tables) {
      return (await ask({ kind: 'estimate-rows', projectId, tables }, never)) as readonly number[];
    },
    async preview({ projectId }, { version }, { claims, rowsMax }) {
      return (await ask({ kind: 'preview', projectId, version, claims, rowsMax }, never)) as readonly StreamPreview[];
    },
    async explain({ projectId }, { version }, { claims, table, key }) {
      return (await ask({ kind: 'explain', projectId, version, claims, table, key }, never)) as RowExplanation;
    },
    async apply({ projectId }, { version }, onProgress, signal) {
      await ask({ kind: 'apply', projectId, version }, signal, onProgress);
    },
    async reshard({ projectId }, shards, signal) {
      await ask({ kind: 'reshard', projectId, shards }, signal);
    },
    async audit({ projectId }, signal) {
      return (await ask({ kind: 'audit', projectId }, signal)) as AuditFindings;
    },
    async release({ projectId }, signal) {
      await ask({ kind: 'release', projectId }, signal);
    },
    async close() {
      await Promise.all([...queues.values()].map((queue) => queue.close()));
      redis.disconnect();
    },
  };
}

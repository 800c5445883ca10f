import { type Clock, delay, type ProjectId } from '@sluice/domain';
import { unreachable } from '@sluice/errors';
import type { Catalog, SourceTable } from '@sluice/sync-rules';
import { DelayedError, type Job, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import type {
  ApplyProgress,
  AuditFindings,
  CheckResult,
  PreviewAs,
  RowExplanation,
  StreamPreview,
} from './source-provisioner.ts';
import { QUEUE_BY_KIND, QUEUE_PREFIX, resultOfError, type Step, type StepResult, stepFrom, wantedKey } from './step.ts';

/** Who does the steps: the replicator. Failures are AppErrors. */
export interface StepHands {
  preflight(project: ProjectId, tables: readonly SourceTable[]): Promise<readonly CheckResult[]>;
  catalog(project: ProjectId): Promise<Catalog>;
  estimateRows(project: ProjectId, tables: readonly SourceTable[]): Promise<readonly number[]>;
  preview(
    project: ProjectId,
    version: number,
    as: PreviewAs & { readonly rowsMax: number },
  ): Promise<readonly StreamPreview[]>;
  explain(
    project: ProjectId,
    version: number,
    as: PreviewAs & { readonly table: string; readonly key: readonly string[] },
  ): Promise<RowExplanation>;
  /** `elsewhere`: another process holds the source, or will in a moment, and shall take the step. */
  apply(
    project: ProjectId,
    version: number,
    onProgress: (progress: ApplyProgress) => void,
    signal: AbortSignal,
  ): Promise<'done' | 'elsewhere'>;
  reshard(project: ProjectId, shards: number, signal: AbortSignal): Promise<'done' | 'elsewhere'>;
  audit(project: ProjectId, signal: AbortSignal): Promise<AuditFindings | 'elsewhere'>;
  release(project: ProjectId, signal: AbortSignal): Promise<void>;
}

export interface StepTaker {
  /** Puts back what is under way, for others to take. */
  close(): Promise<void>;
}

/** Steps under way in one process, of each kind; each mostly waits for a source. */
const CONCURRENCY = 16;
/** A step whose taker died is taken by another one after this time and one more look. */
const LOCK_MS = 4_000;
const LOOK_FOR_DEAD_MS = 1_000;
/** How long a step waits before another process may take it, which it does by chance. */
const ELSEWHERE_MS = 100;
const WANTED_EVERY_MS = 500;

/** Takes steps until closed. */
export function takeSteps(options: {
  readonly redisUrl: string;
  readonly hands: StepHands;
  readonly clock: Clock;
  readonly onError: (error: unknown) => void;
}): StepTaker {
  const { redisUrl: url, hands, clock, onError } = options;
  const redis = new Redis(url, { maxRetriesPerRequest: 1 });
  redis.on('error', onError);
  const closing = new AbortController();

  async function run(job: Job, token: string | undefined): Promise<StepResult> {
    const unwanted = new AbortController();
    const done = new AbortController();
    const signal = AbortSignal.any([unwanted.signal, closing.signal]);
    const watching = watchWanted(job.id ?? '', unwanted, done.signal);
    let result: StepResult | 'elsewhere';
    try {
      result = await doStep(stepFrom(job.data), job, signal);
    } catch (error) {
      result = closing.signal.aborted ? 'elsewhere' : resultOfError(error);
    } finally {
      done.abort();
      await watching;
    }
    if (result !== 'elsewhere') return result;
    // Nobody waits for it: it is not for anybody else either.
    if (unwanted.signal.aborted) return { kind: 'failed', code: 'JOB_SUPERSEDED', details: {} };
    await job.moveToDelayed(clock.nowMs() + ELSEWHERE_MS, token);
    throw new DelayedError();
  }

  async function doStep(step: Step, job: Job, signal: AbortSignal): Promise<StepResult | 'elsewhere'> {
    switch (step.kind) {
      case 'preflight':
        return { kind: 'done', value: await hands.preflight(step.projectId, step.tables) };
      case 'catalog':
        return { kind: 'done', value: await hands.catalog(step.projectId) };
      case 'estimate-rows':
        return { kind: 'done', value: await hands.estimateRows(step.projectId, step.tables) };
      case 'preview':
        return { kind: 'done', value: await hands.preview(step.projectId, step.version, step) };
      case 'explain':
        return { kind: 'done', value: await hands.explain(step.projectId, step.version, step) };
      case 'release':
        await hands.release(step.projectId, signal);
        return { kind: 'done', value: null };
      case 'apply': {
        const report = (progress: ApplyProgress): void => void job.updateProgress({ ...progress }).catch(onError);
        const outcome = await hands.apply(step.projectId, step.version, report, signal);
        return outcome === 'done' ? { kind: 'done', value: null } : 'elsewhere';
      }
      case 'reshard': {
        const outcome = await hands.reshard(step.projectId, step.shards, signal);
        return outcome === 'done' ? { kind: 'done', value: null } : 'elsewhere';
      }
      case 'audit': {
        const outcome = await hands.audit(step.projectId, signal);
        return outcome === 'elsewhere' ? 'elsewhere' : { kind: 'done', value: outcome };
      }
      default:
        return unreachable(step);
    }
  }

  /** Ends the step when nobody waits for it any more. A Redis that does not answer says nothing. */
  async function watchWanted(jobId: string, unwanted: AbortController, done: AbortSignal): Promise<void> {
    while (!done.aborted && !unwanted.signal.aborted) {
      const found = await redis.exists(wantedKey(jobId)).catch(() => 1);
      if (found === 0) unwanted.abort();
      await delay(clock, WANTED_EVERY_MS, AbortSignal.any([done, unwanted.signal]));
    }
  }

  const workers = [...new Set(Object.values(QUEUE_BY_KIND))].map((name) => {
    const worker = new Worker(name, run, {
      connection: { url, maxRetriesPerRequest: null },
      prefix: QUEUE_PREFIX,
      concurrency: CONCURRENCY,
      lockDuration: LOCK_MS,
      stalledInterval: LOOK_FOR_DEAD_MS,
      // A step outlives any number of dying processes, for as long as somebody wants it.
      maxStalledCount: 1_000_000,
    });
    worker.on('error', onError);
    return worker;
  });
  return {
    async close() {
      closing.abort();
      await Promise.all(workers.map((worker) => worker.close()));
      redis.disconnect();
    },
  };
}

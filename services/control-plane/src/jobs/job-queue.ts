import { type ProjectId, parseProjectId } from '@sluice/domain';
import { createPostgresBackend, Queue, runMigrations, Worker, withBackend } from 'bullmq';
import pg from 'pg';
import type { JobTurn } from './run-provisioning-job.ts';

export interface QueuedJob {
  readonly projectId: ProjectId;
  readonly jobNo: number;
}

/**
 * Says when to take a turn at a job. It may lose or repeat what it was told: the job's rows are the truth, its holder is
 * fenced, and `ensureQueued` may be called at any time for any unfinished job.
 */
export interface JobQueue {
  /** Queues the job unless it is queued or running; with `tryNow`, one that waits for its next try is tried at once. */
  ensureQueued(job: QueuedJob, options: { readonly tryNow: boolean }): Promise<void>;
  /** Takes turns until `close`; `run` rejects when another turn should be taken. */
  work(run: (turn: JobTurn) => Promise<void>): void;
  /** Tells running turns to stop and waits for them. */
  close(): Promise<void>;
}

const QUEUE_NAME = 'provisioning';
const TRIES_MAX = 20;
const RETRY_BASE_MS = 1_000;
const RETRY_MAX_MS = 60_000;
/** Jobs that run at the same time in one process; each is mostly waiting for a source. */
const CONCURRENCY = 8;
const POOL_MAX = 3;
/** BullMQ's own tables stand in a schema of their own, which Prisma does not look at. */
const POSTGRES_SCHEMA = 'bullmq';

/** How soon what went wrong is noticed, milliseconds. */
export interface JobTimings {
  /** A turn whose process died is taken by another one after this time and one more look. */
  readonly lockMs: number;
  readonly lookForDeadMs: number;
  /** A job whose row was written but that the queue does not hold waits at most this long. */
  readonly sweepMs: number;
}
/**
 * A turn that is taken twice, because its process stalled for longer than the lock, does no harm: the later one holds the
 * job's rows. So the lock is short, and what a dead process left goes on within five seconds.
 */
export const JOB_TIMINGS: JobTimings = { lockMs: 4_000, lookForDeadMs: 1_000, sweepMs: 15_000 };

/** A queue in Redis when a URL is given, else in the control database. Prepares its tables there. */
export async function openJobQueue(options: {
  readonly redisUrl: string | undefined;
  readonly databaseUrl: string;
  readonly timings: JobTimings;
  readonly onError: (error: unknown) => void;
}): Promise<JobQueue> {
  const workerOptions = workerOptionsOf(options.timings);
  if (options.redisUrl !== undefined) {
    const connection = { url: options.redisUrl, maxRetriesPerRequest: null };
    return jobQueueOver(
      new Queue<JobData>(QUEUE_NAME, { connection }),
      (processor) => new Worker(QUEUE_NAME, processor, { ...workerOptions, connection }),
      options.onError,
    );
  }
  await prepareSchema(options.databaseUrl);
  const backend = withBackend(createPostgresBackend);
  const connection = { connectionString: options.databaseUrl, schema: POSTGRES_SCHEMA, max: POOL_MAX };
  return jobQueueOver(
    new backend.Queue<JobData>(QUEUE_NAME, { connection }),
    (processor) => new backend.Worker(QUEUE_NAME, processor, { ...workerOptions, connection }),
    options.onError,
  );
}

const jobOptions = {
  attempts: TRIES_MAX,
  backoff: { type: 'custom' },
  // What became of a job stands in its row; the queue only remembers what is still to do.
  removeOnComplete: true,
  removeOnFail: true,
};

const workerOptionsOf = ({ lockMs, lookForDeadMs }: JobTimings) => ({
  concurrency: CONCURRENCY,
  lockDuration: lockMs,
  stalledInterval: lookForDeadMs,
  // A job may survive any number of dying processes; what it may not survive is decided by its own tries.
  maxStalledCount: 1_000_000,
  settings: {
    backoffStrategy: (triesMade: number) => Math.min(RETRY_BASE_MS * 2 ** (triesMade - 1), RETRY_MAX_MS),
  },
});

interface JobData {
  readonly projectId: number;
  readonly jobNo: number;
}
interface QueueJob {
  readonly data: JobData;
  readonly attemptsMade: number;
}
type Processor = (job: QueueJob) => Promise<void>;

/** What is used of BullMQ's classes, whose types differ with the backend. */
interface QueueLike {
  getJob(
    jobId: string,
  ): Promise<{ getState(): Promise<string>; promote(): Promise<void>; remove(): Promise<void> } | undefined>;
  add(name: string, data: JobData, options: object): Promise<unknown>;
  on(event: 'error', listener: (error: Error) => void): unknown;
  close(): Promise<void>;
}
interface WorkerLike {
  on(event: 'error', listener: (error: Error) => void): unknown;
  close(): Promise<void>;
}

function jobQueueOver(
  queue: QueueLike,
  createWorker: (processor: Processor) => WorkerLike,
  onError: (error: unknown) => void,
): JobQueue {
  const stopping = new AbortController();
  const workers: WorkerLike[] = [];
  queue.on('error', onError);
  return {
    async ensureQueued({ projectId, jobNo }, { tryNow }) {
      const jobId = `${projectId}-${jobNo}`;
      const job = await queue.getJob(jobId);
      const state = await job?.getState();
      if (job && state === 'delayed' && tryNow) return await job.promote();
      if (job && state !== 'failed' && state !== 'completed') return;
      await job?.remove();
      await queue.add('turn', { projectId, jobNo }, { jobId, ...jobOptions });
    },
    work(run) {
      const worker = createWorker(async ({ data, attemptsMade }) => {
        await run({
          projectId: parseProjectId(data.projectId),
          jobNo: data.jobNo,
          isLastTry: attemptsMade + 1 >= TRIES_MAX,
          signal: stopping.signal,
        });
      });
      worker.on('error', onError);
      workers.push(worker);
    },
    async close() {
      stopping.abort();
      await Promise.all(workers.map((worker) => worker.close()));
      await queue.close();
    },
  };
}

async function prepareSchema(databaseUrl: string): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    await runMigrations(client, POSTGRES_SCHEMA);
  } finally {
    await client.end();
  }
}

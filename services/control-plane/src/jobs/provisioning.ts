import type { Database, JobRecord } from '@sluice/database';
import { type Clock, delay, type ProjectId } from '@sluice/domain';
import type { ControlPlaneEvents } from '../events.ts';
import type { JobQueue } from './job-queue.ts';
import type { JobRunner } from './run-provisioning-job.ts';
import { runProvisioningJob } from './run-provisioning-job.ts';

/** Starts provisioning jobs and keeps the queue in step with their rows. */
export class Provisioning {
  readonly #database: Database;
  readonly #queue: JobQueue;
  readonly #clock: Clock;
  readonly #events: ControlPlaneEvents;
  readonly #sweepMs: number;

  constructor(parts: {
    database: Database;
    queue: JobQueue;
    sweepMs: number;
    clock: Clock;
    events: ControlPlaneEvents;
  }) {
    this.#sweepMs = parts.sweepMs;
    this.#database = parts.database;
    this.#queue = parts.queue;
    this.#clock = parts.clock;
    this.#events = parts.events;
  }

  /** @throws AppError as ProvisioningJobs.enqueueDeploy */
  async deploy(projectId: ProjectId, version: number): Promise<JobRecord> {
    return await this.#enqueue(await this.#database.jobs.enqueueDeploy(projectId, version));
  }

  /** @throws AppError as ProvisioningJobs.enqueueUpkeep */
  async reshard(projectId: ProjectId, shards: number): Promise<JobRecord> {
    return await this.#enqueue(await this.#database.jobs.enqueueUpkeep(projectId, { kind: 'reshard', shards }));
  }

  /** @throws AppError as ProvisioningJobs.enqueueUpkeep */
  async audit(projectId: ProjectId): Promise<JobRecord> {
    return await this.#enqueue(await this.#database.jobs.enqueueUpkeep(projectId, { kind: 'audit' }));
  }

  /** @throws AppError PROJECT_NOT_FOUND */
  async release(projectId: ProjectId): Promise<JobRecord> {
    return await this.#enqueue(await this.#database.jobs.enqueueRelease(projectId));
  }

  /**
   * Takes turns at jobs until `signal` is aborted. Begins with every unfinished job, so that work which a dead process
   * left goes on at once. Without a runner this process only keeps the queue filled for others.
   */
  async run(runner: JobRunner | undefined, signal: AbortSignal): Promise<void> {
    await this.#sweep({ tryNow: true });
    if (runner) this.#queue.work((turn) => runProvisioningJob(runner, turn));
    while (!signal.aborted) {
      await delay(this.#clock, this.#sweepMs, signal);
      if (!signal.aborted) await this.#sweep({ tryNow: false });
    }
  }

  async #enqueue(job: JobRecord): Promise<JobRecord> {
    this.#events.jobEnqueued(job);
    // The row is the promise given to the caller; should the queue be away, the next sweep keeps it.
    await this.#queue.ensureQueued(job, { tryNow: true }).catch((error) => this.#events.queueUnreachable(error));
    return job;
  }

  async #sweep(options: { tryNow: boolean }): Promise<void> {
    try {
      for (const job of await this.#database.jobs.unfinished()) await this.#queue.ensureQueued(job, options);
    } catch (error) {
      this.#events.queueUnreachable(error);
    }
  }
}

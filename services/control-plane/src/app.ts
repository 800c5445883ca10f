import {
  createKeyFileIfMissing,
  migrate,
  openDatabase,
  openFileKeys,
  type ProjectChange,
  watchProjectChanges,
} from '@sluice/database';
import type { Clock } from '@sluice/domain';
import { createProjectDirectory, type ProjectDirectory } from '@sluice/project-directory';
import type { SourceProvisioner } from '@sluice/source-steps';
import { parseAndCompile } from '@sluice/sync-rules';
import { createMetrics, type Logger, type Metrics } from '@sluice/telemetry';
import type { ControlPlaneConfig } from './config.ts';
import { controlPlaneEvents } from './events.ts';
import { createHttpApp } from './http/http-app.ts';
import { JOB_TIMINGS, type JobTimings, openJobQueue } from './jobs/job-queue.ts';
import { Provisioning } from './jobs/provisioning.ts';
import type { JobRunner } from './jobs/run-provisioning-job.ts';

export interface ControlPlaneOptions {
  readonly config: ControlPlaneConfig;
  /** Who runs the steps on the sources; without one, jobs wait for a process that has one. */
  readonly provisioner: SourceProvisioner | undefined;
  readonly logger: Logger;
  readonly clock: Clock;
  /** Those of the process; the service makes its own when none are given. */
  readonly metrics?: Metrics;
  readonly faultPoint?: JobRunner['faultPoint'];
  /** JOB_TIMINGS unless given. */
  readonly jobTimings?: JobTimings;
}

export interface ControlPlane {
  readonly directory: ProjectDirectory;
  /** Begins to answer requests and to run jobs. */
  listen(): Promise<{ readonly url: string }>;
  /** Answers what is under way, stops jobs where they can be resumed, and closes everything. */
  close(): Promise<void>;
}

/** Migrates the control database, then joins its parts: repositories, job queue, directory and API. */
export async function createControlPlane(options: ControlPlaneOptions): Promise<ControlPlane> {
  const { config, provisioner, logger, clock } = options;
  const events = controlPlaneEvents(logger, options.metrics ?? createMetrics({ service: 'control-plane' }));
  const databaseUrl = config.CONTROL_DATABASE_URL.reveal();
  await migrate({ url: databaseUrl });
  await createKeyFileIfMissing(config.CONTROL_KEY_FILE);
  const keys = await openFileKeys(config.CONTROL_KEY_FILE);

  const database = openDatabase({ url: databaseUrl, clock });
  const timings = options.jobTimings ?? JOB_TIMINGS;
  const queue = await openJobQueue({
    redisUrl: config.REDIS_URL?.reveal(),
    databaseUrl,
    timings,
    onError: (error) => events.queueUnreachable(error),
  });
  const provisioning = new Provisioning({ database, queue, sweepMs: timings.sweepMs, clock, events });
  const http = await createHttpApp({
    database,
    keys,
    provisioning,
    provisioner,
    checkRules: parseAndCompile,
    hostPolicy: config.SOURCE_HOSTS,
    token: config.CONTROL_PLANE_TOKEN,
    events,
    logger,
  });
  const runner = provisioner && {
    database,
    provisioner,
    checkRules: parseAndCompile,
    clock,
    events,
    faultPoint: options.faultPoint,
  };

  const listeners = new Set<(change: ProjectChange) => void>();
  const stopping = new AbortController();
  const running: Promise<void>[] = [
    watchProjectChanges({
      url: databaseUrl,
      clock,
      signal: stopping.signal,
      onChange: (change) => {
        for (const listener of listeners) listener(change);
      },
      onLost: (error) => events.projectWatchLost(error),
    }),
  ];
  return {
    directory: createProjectDirectory({ database, keys, listeners }),
    async listen() {
      await http.listen(config.CONTROL_PLANE_PORT, '127.0.0.1');
      running.push(provisioning.run(runner, stopping.signal));
      const url = await http.getUrl();
      events.listening(Number(new URL(url).port));
      return { url };
    },
    async close() {
      stopping.abort();
      await http.close();
      await queue.close();
      await Promise.all(running);
      await database.close();
      events.stopped();
    },
  };
}

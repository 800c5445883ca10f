import { createPostgresBucketStore } from '@sluice/bucket-store';
import { ConfigError } from '@sluice/config';
import { type Clock, parseProjectId } from '@sluice/domain';
import type { AppError } from '@sluice/errors';
import { createMemoryWakeUps, createRedisWakeUps } from '@sluice/op-queue';
import { connectDirectory } from '@sluice/project-directory';
import {
  createLogger,
  createMetrics,
  type Logger,
  runUntilSignal,
  startHealthServer,
  systemClock,
} from '@sluice/telemetry';
import { createRemoteUploads } from '@sluice/uploads';
import { createGateway } from './app.ts';
import type { ProjectDirectory } from './authenticate/client-auth.ts';
import { controlDirectory } from './authenticate/control-directory.ts';
import { projectsFileDirectory } from './authenticate/projects-file.ts';
import { type GatewaySettings, gatewayConfigFrom, readConfig } from './config.ts';

/** Without wake-ups from another process, how often to look for a new checkpoint. */
const ALONE_POLL_MS = 100;
const CONTROL_CONNECTIONS_MAX = 5;
/** The store answers a question about any project, or it is out of reach. */
const ANY_PROJECT = parseProjectId(1);

/** The gateway as a process of its own. It keeps nothing: any gateway serves any client. */
const settings = readConfig();
const clock = systemClock;
const logger = createLogger({ service: 'gateway', level: settings.LOG_LEVEL, clock });
await runUntilSignal((signal) => runProcess(settings, { clock, logger }, signal), { logger, clock });

async function runProcess(
  config: GatewaySettings,
  by: { readonly clock: Clock; readonly logger: Logger },
  signal: AbortSignal,
): Promise<void> {
  const metrics = createMetrics({ service: 'gateway', processMetrics: true });
  const store = createPostgresBucketStore({
    url: config.BUCKET_STORE_URL.reveal(),
    poolMax: config.BUCKET_STORE_CONNECTIONS_MAX,
  });
  const projects = await openProjects(config, by);
  const redis = config.REDIS_URL && (await openRedis(config.REDIS_URL.reveal(), by));
  const gateway = createGateway({
    store,
    wakeUps: redis?.wakeUps ?? createMemoryWakeUps(),
    uploads: redis?.uploads,
    ...by,
    metrics,
    directory: projects.directory,
    config: { ...gatewayConfigFrom(config), ...(redis ? {} : { pollMs: ALONE_POLL_MS }) },
  });
  await gateway.listen();
  const health = await startHealthServer({
    port: config.SLUICE_GATEWAY_HEALTH_PORT,
    metrics,
    checks: {
      process: () => (signal.aborted ? 'draining' : undefined),
      store: async () => void (await store.readSource(ANY_PROJECT)),
      projects: () => projects.notReady(),
      // Settled only while Redis answers.
      ...(redis ? { redis: () => redis.wakeUps.settled() as Promise<undefined> } : {}),
    },
  });
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  await gateway.close();
  await redis?.close();
  await projects.close();
  await store.close();
  await health[Symbol.asyncDispose]();
}

interface Projects {
  readonly directory: ProjectDirectory;
  notReady(): Promise<string | undefined>;
  close(): Promise<void>;
}

/** Projects from the control database, or from a file. @throws ConfigError when neither is set */
async function openProjects(
  { CONTROL_DATABASE_URL, CONTROL_KEY_FILE, SLUICE_GATEWAY_PROJECTS_FILE }: GatewaySettings,
  by: { readonly clock: Clock; readonly logger: Logger },
): Promise<Projects> {
  if (CONTROL_DATABASE_URL && CONTROL_KEY_FILE !== undefined) {
    const control = await connectDirectory({
      databaseUrl: CONTROL_DATABASE_URL.reveal(),
      keyFile: CONTROL_KEY_FILE,
      connectionsMax: CONTROL_CONNECTIONS_MAX,
      clock: by.clock,
      onWatchLost: (error) => by.logger.warn('changes of projects are not told of', { error }),
    });
    return { ...control, directory: controlDirectory(control.directory) };
  }
  if (SLUICE_GATEWAY_PROJECTS_FILE === undefined) {
    const problem = 'is required, with CONTROL_KEY_FILE, or else SLUICE_GATEWAY_PROJECTS_FILE';
    throw new ConfigError([{ key: 'CONTROL_DATABASE_URL', problem }]);
  }
  const directory = projectsFileDirectory(SLUICE_GATEWAY_PROJECTS_FILE);
  return { directory, notReady: async () => undefined, close: async () => {} };
}

/** What reaches other processes: wake-ups from workers and replicators, uploads to writers. */
async function openRedis(url: string, by: { readonly clock: Clock; readonly logger: Logger }) {
  const options = {
    url,
    clock: by.clock,
    onTrouble: (error: AppError) => by.logger.warn('redis is in trouble', { error, code: error.code }),
  };
  const wakeUps = await createRedisWakeUps(options);
  const uploads = await createRemoteUploads(options);
  return {
    wakeUps,
    uploads,
    async close() {
      uploads.close();
      await wakeUps.close();
    },
  };
}

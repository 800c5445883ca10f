import { createPostgresBucketStore } from '@sluice/bucket-store';
import { createMemoryWakeUps } from '@sluice/op-queue';
import { createLogger, createMetrics, runUntilSignal, startHealthServer, systemClock } from '@sluice/telemetry';
import { createGateway } from './app.ts';
import { projectsFileDirectory } from './authenticate/projects-file.ts';
import { gatewayConfigFrom, readConfig } from './config.ts';

/** Without wake-ups from another process, how often to look for a new checkpoint. */
const POLL_MS = 100;

/** The gateway as a process of its own: it reads the bucket store and nothing else, and finds new checkpoints by polling. */
const settings = readConfig();
const clock = systemClock;
const logger = createLogger({ service: 'gateway', level: settings.LOG_LEVEL, clock });

await runUntilSignal(
  async (signal) => {
    const metrics = createMetrics({ service: 'gateway', processMetrics: true });
    const store = createPostgresBucketStore({
      url: settings.BUCKET_STORE_URL.reveal(),
      poolMax: settings.BUCKET_STORE_CONNECTIONS_MAX,
    });
    const gateway = createGateway({
      store,
      wakeUps: createMemoryWakeUps(),
      clock,
      logger,
      metrics,
      directory: projectsFileDirectory(settings.SLUICE_GATEWAY_PROJECTS_FILE),
      config: { ...gatewayConfigFrom(settings), pollMs: POLL_MS },
    });
    const health = await startHealthServer({ port: settings.SLUICE_GATEWAY_HEALTH_PORT, checks: {}, metrics });
    await gateway.listen();
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
    await gateway.close();
    await health[Symbol.asyncDispose]();
    await store.close();
  },
  { logger, clock },
);

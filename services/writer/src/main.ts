import { randomBytes } from 'node:crypto';
import type { Clock } from '@sluice/domain';
import { connectDirectory, sourceOf } from '@sluice/project-directory';
import {
  createLogger,
  createMetrics,
  type Logger,
  outage,
  runUntilSignal,
  startHealthServer,
  systemClock,
} from '@sluice/telemetry';
import { serveUploads } from '@sluice/uploads';
import { createWriter } from './app.ts';
import { readConfig, type WriterConfig } from './config.ts';

const CONTROL_CONNECTIONS_MAX = 5;

/** The writer as a process of its own. It keeps nothing: any writer may take any upload, and the source decides (L15). */
const config = readConfig();
const clock = systemClock;
const logger = createLogger({ service: 'writer', level: config.LOG_LEVEL, clock });
await runUntilSignal((signal) => runProcess(config, { clock, logger }, signal), { logger, clock });

async function runProcess(
  settings: WriterConfig,
  by: { readonly clock: Clock; readonly logger: Logger },
  signal: AbortSignal,
): Promise<void> {
  const id = `writer-${randomBytes(8).toString('hex')}`;
  const metrics = createMetrics({ service: 'writer', processMetrics: true });
  const control = await connectDirectory({
    databaseUrl: settings.CONTROL_DATABASE_URL.reveal(),
    keyFile: settings.CONTROL_KEY_FILE,
    connectionsMax: CONTROL_CONNECTIONS_MAX,
    clock: by.clock,
    onWatchLost: (error) => by.logger.warn('changes of projects are not told of', { error }),
  });
  const { directory } = control;
  const writer = createWriter({
    ...by,
    metrics,
    sourceOf: (project) => sourceOf(directory, project),
    rulesOf: async (project) => (await directory.activeRulesOf(project))?.compiled,
    limits: {
      connectionsMax: settings.SLUICE_WRITER_PROJECT_CONNECTIONS_MAX,
      statementTimeoutMs: settings.SLUICE_WRITER_STATEMENT_TIMEOUT_MS,
    },
  });
  const unsubscribe = directory.onProjectChanged((change) =>
    writer.projectChanged(change.kind === 'all' ? undefined : change.projectId),
  );
  const served = await serveUploads({
    url: settings.REDIS_URL.reveal(),
    id,
    uploads: writer,
    clock: by.clock,
    onTrouble: outage({
      clock: by.clock,
      kindOf: () => undefined,
      begun: (error) => by.logger.warn('redis is in trouble', { error }),
      ended: (count) => by.logger.info('redis is well again', { count }),
    }),
  });
  const health = await startHealthServer({
    port: settings.SLUICE_WRITER_HEALTH_PORT,
    metrics,
    checks: {
      process: () => (signal.aborted ? 'draining' : undefined),
      redis: () => served.notReady,
      database: () => control.notReady(),
    },
  });
  by.logger.info('writer is running', { workerId: id, port: health.port });

  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  // What was taken is written and answered before the sources are let go.
  await served.close();
  unsubscribe();
  await writer.close();
  await control.close();
  await health[Symbol.asyncDispose]();
}

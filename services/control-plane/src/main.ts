import { isAppError } from '@sluice/errors';
import { createRedisWakeUps } from '@sluice/op-queue';
import { createRemoteProvisioner } from '@sluice/source-steps';
import { createLogger, createMetrics, outage, runUntilSignal, systemClock } from '@sluice/telemetry';
import { createControlPlane } from './app.ts';
import { readConfig } from './config.ts';
import { controlPlaneLogFields } from './events.ts';

/**
 * The control plane as a process of its own. With a Redis, replicator processes do its steps on the sources, and the
 * gateways hear of changed projects from it; without one nobody is joined to it, so it keeps and shows jobs.
 */
const { LOG_LEVEL, ...config } = readConfig();
const clock = systemClock;
const logger = createLogger({ service: 'control-plane', level: LOG_LEVEL, clock, allow: controlPlaneLogFields });

await runUntilSignal(
  async (signal) => {
    const metrics = createMetrics({ service: 'control-plane', processMetrics: true });
    const url = config.REDIS_URL?.reveal();
    const onError = outage({
      clock,
      kindOf: (error) => (isAppError(error) ? error.code : undefined),
      begun: (error) => logger.warn('redis is in trouble', { error }),
      ended: (count) => logger.info('redis is well again', { count }),
    });
    const provisioner = url === undefined ? undefined : createRemoteProvisioner({ redisUrl: url, clock, onError });
    const wakeUps = url === undefined ? undefined : await createRedisWakeUps({ url, clock, onTrouble: onError });
    const controlPlane = await createControlPlane({ config, provisioner, logger, clock, metrics });
    const unsubscribe = controlPlane.directory.onProjectChanged((change) => {
      if (change.kind === 'project') wakeUps?.publish({ kind: 'project', project: change.projectId });
    });
    await controlPlane.listen();
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
    await controlPlane.close();
    unsubscribe();
    await provisioner?.close();
    await wakeUps?.close();
  },
  { logger, clock },
);

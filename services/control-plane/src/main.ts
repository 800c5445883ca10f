import { createLogger, createMetrics, runUntilSignal, systemClock } from '@sluice/telemetry';
import { createControlPlane } from './app.ts';
import { readConfig } from './config.ts';
import { controlPlaneLogFields } from './events.ts';

/**
 * The control plane as a process of its own. No replicator is joined to it here, so it keeps and shows jobs, and another
 * process that shares its queue runs them.
 */
const { LOG_LEVEL, ...config } = readConfig();
const clock = systemClock;
const logger = createLogger({ service: 'control-plane', level: LOG_LEVEL, clock, allow: controlPlaneLogFields });

await runUntilSignal(
  async (signal) => {
    const metrics = createMetrics({ service: 'control-plane', processMetrics: true });
    const controlPlane = await createControlPlane({ config, provisioner: undefined, logger, clock, metrics });
    await controlPlane.listen();
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
    await controlPlane.close();
  },
  { logger, clock },
);

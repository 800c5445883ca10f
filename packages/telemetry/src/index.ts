export { describeError, type ErrorDescription } from './describe-error.ts';
export {
  type HealthServer,
  type HealthServerOptions,
  type ReadinessCheck,
  startHealthServer,
} from './health-server.ts';
export {
  createLogger,
  type LogFields,
  type Logger,
  type LoggerOptions,
  type LogLevel,
} from './logger.ts';
export { createMetrics, latencyBuckets, type MetricOptions, type Metrics } from './metrics.ts';
export { outage } from './outage.ts';
export { type RunOptions, runUntilSignal } from './run-until-signal.ts';
export { systemClock } from './system-clock.ts';
export { systemRandom } from './system-random.ts';

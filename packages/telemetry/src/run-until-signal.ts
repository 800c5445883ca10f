import type { Clock } from '@sluice/domain';
import type { Logger } from './logger.ts';

export interface RunOptions {
  readonly logger: Logger;
  readonly clock: Clock;
  /** How long an ordered stop may take before the process exits anyway. Default 25 s: below Kubernetes' 30 s. */
  readonly deadlineMs?: number;
}

const stopSignals = ['SIGINT', 'SIGTERM'] as const;

/**
 * The outermost frame of a service's `main.ts`: runs until a signal asks for an end or `run` ends by itself, and then
 * exits the process. The first SIGINT or SIGTERM aborts the signal and `run` should resolve when fully stopped; a second
 * one, or the deadline, exits at once. Exit codes: 0 in order, 1 when `run` failed or overran, 130 on the second signal.
 * An error that nobody caught ends the process too: its state is unknown, and every part recovers from a crash.
 */
export async function runUntilSignal(run: (signal: AbortSignal) => Promise<void>, options: RunOptions): Promise<never> {
  const { logger, clock, deadlineMs = 25_000 } = options;
  const controller = new AbortController();
  const stop = (signal: NodeJS.Signals): void => {
    if (controller.signal.aborted) {
      logger.warn('stopping at once', { signal });
      process.exit(130);
    }
    logger.info('stopping', { signal });
    clock.setTimer(deadlineMs, () => {
      logger.error('did not stop in time', { durationMs: deadlineMs });
      process.exit(1);
    });
    controller.abort(new Error(`stopped by ${signal}`));
  };
  const die = (error: unknown): void => {
    logger.error('uncaught error', { error });
    process.exit(1);
  };
  for (const signal of stopSignals) process.on(signal, stop);
  process.on('uncaughtException', die);
  process.on('unhandledRejection', die);
  try {
    await run(controller.signal);
  } catch (error) {
    logger.error('failed', { error });
    process.exit(1);
  }
  logger.info('stopped');
  process.exit(0);
}

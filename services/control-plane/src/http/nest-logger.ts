import type { LoggerService } from '@nestjs/common';
import type { Logger } from '@sluice/telemetry';

/** The framework's own remarks: its start-up chatter is for debugging, its errors are ours to see. */
export function nestLogger(logger: Logger): LoggerService {
  const reasonOf = (message: unknown): { reason: string } => ({ reason: String(message) });
  return {
    log: (message: unknown) => logger.debug('framework', reasonOf(message)),
    debug: (message: unknown) => logger.debug('framework', reasonOf(message)),
    verbose: (message: unknown) => logger.debug('framework', reasonOf(message)),
    warn: (message: unknown) => logger.warn('framework', reasonOf(message)),
    error: (message: unknown) => logger.error('framework', reasonOf(message)),
    fatal: (message: unknown) => logger.error('framework', reasonOf(message)),
  };
}

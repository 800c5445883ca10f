import type { Clock } from '@sluice/domain';
import { isAppError } from '@sluice/errors';
import type { KeeperEvents } from '@sluice/membership';
import { type Logger, outage } from '@sluice/telemetry';

/** What happens to this process among others of its kind, each with its log record. */
export interface ProcessEvents extends KeeperEvents {
  readonly redisTrouble: (error: unknown) => void;
  readonly projectWatchLost: (error: unknown) => void;
  readonly sourcesNotReported: (error: unknown) => void;
}

/** What is retried is told when it begins to fail and when it works again, not with every try. */
export function keeperEvents(logger: Logger, clock: Clock): ProcessEvents {
  const codeOf = (error: unknown): string | undefined => (isAppError(error) ? error.code : undefined);
  const whileItLasts = (message: string, over: string): ((error: unknown) => void) =>
    outage({
      clock,
      kindOf: codeOf,
      begun: (error) => logger.warn(message, { error, code: codeOf(error) }),
      ended: (count) => logger.info(over, { count }),
    });
  return {
    membersUnknown: whileItLasts('other replicators cannot be asked', 'other replicators can be asked again'),
    itemsUnknown: whileItLasts('projects cannot be read', 'projects can be read again'),
    failed: (item, error) => logger.error('project stopped', { projectId: item, error, code: codeOf(error) }),
    givenUp: (item) => logger.info('project given up to others', { projectId: item }),
    redisTrouble: whileItLasts('redis is in trouble', 'redis is well again'),
    projectWatchLost: (error) => logger.warn('changes of projects are not told of', { error }),
    sourcesNotReported: (error) => logger.warn('source states not reported', { error }),
  };
}

import { isAppError } from '@sluice/errors';
import type { KeeperEvents } from '@sluice/membership';
import type { Logger } from '@sluice/telemetry';

/** What happens to this process among others of its kind, each with its log record. */
export interface ProcessEvents extends KeeperEvents {
  readonly redisTrouble: (error: unknown) => void;
  readonly projectWatchLost: (error: unknown) => void;
  readonly sourcesNotReported: (error: unknown) => void;
}

export function keeperEvents(logger: Logger): ProcessEvents {
  const codeOf = (error: unknown): string | undefined => (isAppError(error) ? error.code : undefined);
  return {
    membersUnknown: (error) => logger.warn('other replicators cannot be asked', { error }),
    itemsUnknown: (error) => logger.warn('projects cannot be read', { error }),
    failed: (item, error) => logger.error('project stopped', { projectId: item, error, code: codeOf(error) }),
    givenUp: (item) => logger.info('project given up to others', { projectId: item }),
    redisTrouble: (error) => logger.warn('redis is in trouble', { error, code: codeOf(error) }),
    projectWatchLost: (error) => logger.warn('changes of projects are not told of', { error }),
    sourcesNotReported: (error) => logger.warn('source states not reported', { error }),
  };
}

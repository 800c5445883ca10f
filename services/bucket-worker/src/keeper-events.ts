import { isAppError } from '@sluice/errors';
import type { KeeperEvents } from '@sluice/membership';
import type { Logger } from '@sluice/telemetry';
import { parseShardItem } from './shard-items.ts';

/** What happens to this process among others of its kind, each with its log record. */
export interface ProcessEvents extends KeeperEvents {
  readonly redisTrouble: (error: unknown) => void;
  readonly projectWatchLost: (error: unknown) => void;
}

export function keeperEvents(logger: Logger): ProcessEvents {
  const codeOf = (error: unknown): string | undefined => (isAppError(error) ? error.code : undefined);
  const shardOf = (item: string): { projectId: number; shard: number } => {
    const { project, shard } = parseShardItem(item);
    return { projectId: project, shard };
  };
  return {
    membersUnknown: (error) => logger.warn('other workers cannot be asked', { error }),
    itemsUnknown: (error) => logger.warn('projects cannot be read', { error }),
    failed: (item, error) => logger.warn('shard is let be for a while', { ...shardOf(item), code: codeOf(error) }),
    givenUp: (item) => logger.info('shard given up to others', shardOf(item)),
    redisTrouble: (error) => logger.warn('redis is in trouble', { error, code: codeOf(error) }),
    projectWatchLost: (error) => logger.warn('changes of projects are not told of', { error }),
  };
}

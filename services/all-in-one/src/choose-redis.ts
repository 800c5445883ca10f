import type { Clock } from '@sluice/domain';
import type { Logger } from '@sluice/telemetry';
import type { Closers } from './closers.ts';
import type { AllInOneConfig } from './config.ts';
import { type EmbeddedRedis, startRedis } from './embedded/redis.ts';

/**
 * The URL of the Redis that carries changes and jobs: the one of REDIS_URL, else one of our own if there is a program for
 * it. Undefined when neither is there: then everything stays within this process. Says which it is.
 */
export async function chooseRedis(
  options: {
    readonly config: AllInOneConfig;
    readonly home: string;
    readonly clock: Clock;
    readonly logger: Logger;
    readonly report: (line: string) => void;
  },
  stack: Closers,
): Promise<string | undefined> {
  const { config, report } = options;
  if (config.REDIS_URL) {
    report('queues: the Redis of REDIS_URL');
    return config.REDIS_URL.reveal();
  }
  const program = config.SLUICE_REDIS_SERVER;
  if (program === undefined) {
    report('queues: within this process; there is no redis-server (`npm run setup-tools` gets one)');
    return undefined;
  }
  const redis = await startOwn(options, program);
  if (redis === undefined) {
    report(`queues: within this process; ${program} does not start`);
    return undefined;
  }
  stack.defer(async () => redis[Symbol.asyncDispose]());
  report(`queues: a Redis of our own (${program})`);
  return redis.url;
}

async function startOwn(
  { home, clock, logger }: Parameters<typeof chooseRedis>[0],
  program: string,
): Promise<EmbeddedRedis | undefined> {
  const onRestart = (): void => logger.warn('embedded redis ended and is started again');
  try {
    return await startRedis({ program, home, clock, onRestart });
  } catch (error) {
    logger.warn('embedded redis not started', { error });
    return undefined;
  }
}

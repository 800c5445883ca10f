import type { Clock } from '@sluice/domain';
import { AppError } from '@sluice/errors';
import type { RedisLink } from './redis-link.ts';

/** The oldest Redis that the scripts and their all-or-nothing behaviour under full memory were proved with. */
const VERSION_MIN = [7, 0] as const;

/**
 * Waits for Redis and looks whether it can carry the queue.
 * @throws AppError QUEUE_UNAVAILABLE when it did not answer within `timeoutMs`
 * @throws AppError QUEUE_EVICTING when it may throw away what is queued to make room
 * @throws AppError QUEUE_SERVER_UNSUPPORTED when it is too old or a cluster
 */
export async function checkServer(link: RedisLink, clock: Clock, timeoutMs: number): Promise<void> {
  const waiting = new AbortController();
  const cancel = clock.setTimer(timeoutMs, () => waiting.abort());
  await link.ready(waiting.signal);
  cancel();
  if (!link.isReady) throw link.unavailable();
  judge(parseInfo(await readInfo(link)));
}

async function readInfo(link: RedisLink): Promise<string> {
  try {
    return String(await link.call('INFO', []));
  } catch (error) {
    throw new AppError('QUEUE_UNAVAILABLE', { internal: error instanceof Error ? error.message : 'INFO failed' });
  }
}

function parseInfo(text: string): ReadonlyMap<string, string> {
  const lines = text.split('\r\n').filter((line) => line.includes(':'));
  return new Map(lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]));
}

function judge(info: ReadonlyMap<string, string>): void {
  const version = info.get('redis_version') ?? 'unknown';
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (!(major > VERSION_MIN[0] || (major === VERSION_MIN[0] && minor >= VERSION_MIN[1]))) {
    throw new AppError('QUEUE_SERVER_UNSUPPORTED', {
      internal: `Redis ${version}`,
      details: { reason: `it is version ${version}, and ${VERSION_MIN.join('.')} is the oldest that works` },
    });
  }
  if (info.get('redis_mode') === 'cluster')
    throw new AppError('QUEUE_SERVER_UNSUPPORTED', {
      internal: 'Redis in cluster mode',
      details: { reason: 'it runs in cluster mode' },
    });
  const policy = info.get('maxmemory_policy') ?? 'unknown';
  if (info.get('maxmemory') !== '0' && policy !== 'noeviction')
    throw new AppError('QUEUE_EVICTING', { internal: `maxmemory-policy ${policy}`, details: { policy } });
}

import { type Clock, delay } from '@sluice/domain';
import { isReply, type RedisLink } from '@sluice/redis-link';
import type { ShardKeys } from './keys.ts';

const WAIT_MIN_MS = 20;
const WAIT_MAX_MS = 500;

/** How long to let Redis be after that many failures in a row, milliseconds. */
function waitMs(failures: number): number {
  return Math.min(WAIT_MIN_MS * 2 ** (failures - 1), WAIT_MAX_MS);
}

/**
 * After a command failed: waits until it makes sense to try again. A full memory, a server that is loading or a lost link
 * all mean the same: later. A key that is no stream was not made by us, and goes.
 */
export async function recover(
  error: unknown,
  from: { readonly link: RedisLink; readonly keys: ShardKeys; readonly clock: Clock; readonly failures: number },
  signal: AbortSignal,
): Promise<void> {
  const { link, keys, clock, failures } = from;
  if (isReply(error, 'WRONGTYPE')) await link.call('DEL', [keys.frames, keys.bytes]).catch(() => {});
  await delay(clock, waitMs(failures), signal);
  await link.ready(signal);
}

import { setTimeout as wait } from 'node:timers/promises';

const pollIntervalMs = 20;

/**
 * Asks `probe` at short intervals until it gives something, or gives up after about `timeoutMs` and returns undefined. A
 * server in another process group announces its state only in files and by its death, so there is no event to wait for.
 */
export async function poll<T>(
  probe: () => T | undefined | Promise<T | undefined>,
  timeoutMs: number,
): Promise<T | undefined> {
  for (let waitedMs = 0; ; waitedMs += pollIntervalMs) {
    const value = await probe();
    if (value !== undefined || waitedMs >= timeoutMs) return value;
    await wait(pollIntervalMs);
  }
}

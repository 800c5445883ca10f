import { setTimeout as wait } from 'node:timers/promises';
import { inspect } from 'node:util';

export interface WaitForOptions {
  /** Completes the sentence "waited for …". */
  readonly what: string;
  /** Default 10 s: the promise of convergence after a fault heals. */
  readonly timeoutMs?: number;
  readonly intervalMs?: number;
  /**
   * One look and the pause after it count as no more than this. On a machine that is busy with other things a look takes
   * long, and so does what is awaited. Default: they count in full.
   */
  readonly countedMsMax?: number;
}

/**
 * Asks `condition` again and again until it gives something truthy, and gives that. What it throws counts as "not yet".
 * The only place where tests poll: prefer an event that you listen to before the act.
 */
export async function waitFor<T>(
  condition: () => T | Promise<T>,
  { what, timeoutMs = 10_000, intervalMs = 20, countedMsMax = Number.POSITIVE_INFINITY }: WaitForOptions,
): Promise<NonNullable<T>> {
  let countedMs = 0;
  for (;;) {
    const begunMs = performance.now();
    const last = await attempt(condition);
    if (last.kind === 'gave' && last.value) return last.value;
    if (countedMs + Math.min(performance.now() - begunMs, countedMsMax) >= timeoutMs) {
      const value = inspect(last.kind === 'gave' ? last.value : last.error, { depth: 4, breakLength: 120 });
      const cause = last.kind === 'threw' ? { cause: last.error } : {};
      throw new Error(`waited ${timeoutMs} ms for ${what}; the last try ${last.kind} ${value}`, cause);
    }
    await wait(intervalMs);
    countedMs += Math.min(performance.now() - begunMs, countedMsMax);
  }
}

type Attempt<T> = { readonly kind: 'gave'; readonly value: T } | { readonly kind: 'threw'; readonly error: unknown };

async function attempt<T>(condition: () => T | Promise<T>): Promise<Attempt<T>> {
  try {
    return { kind: 'gave', value: await condition() };
  } catch (error) {
    return { kind: 'threw', error };
  }
}

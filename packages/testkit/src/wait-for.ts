import { setTimeout as wait } from 'node:timers/promises';
import { inspect } from 'node:util';

export interface WaitForOptions {
  /** Completes the sentence "waited for …". */
  readonly what: string;
  /** Default 10 s: the promise of convergence after a fault heals. */
  readonly timeoutMs?: number;
  readonly intervalMs?: number;
}

/**
 * Asks `condition` again and again until it gives something truthy, and gives that. What it throws counts as "not yet".
 * The only place where tests poll: prefer an event that you listen to before the act.
 */
export async function waitFor<T>(
  condition: () => T | Promise<T>,
  { what, timeoutMs = 10_000, intervalMs = 20 }: WaitForOptions,
): Promise<NonNullable<T>> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const last = await attempt(condition);
    if (last.kind === 'gave' && last.value) return last.value;
    if (performance.now() >= deadline) {
      const value = inspect(last.kind === 'gave' ? last.value : last.error, { depth: 4, breakLength: 120 });
      const cause = last.kind === 'threw' ? { cause: last.error } : {};
      throw new Error(`waited ${timeoutMs} ms for ${what}; the last try ${last.kind} ${value}`, cause);
    }
    await wait(intervalMs);
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

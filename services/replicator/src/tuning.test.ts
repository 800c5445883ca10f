import { expect, it } from 'vitest';
import { Backoff } from './progress/backoff.ts';
import { DEFAULT_TUNING } from './tuning.ts';

/** Clients converge within this time once a fault has healed; the new connection and the way to the clients take some of it. */
const CONVERGES_WITHIN_MS = 10_000;

it('after any number of failures the source is asked again in time for clients to converge', () => {
  const backoff = new Backoff(DEFAULT_TUNING.reconnectFirstMs, DEFAULT_TUNING.reconnectMaxMs, () => 1);
  const waits = Array.from({ length: 40 }, () => backoff.nextMs());
  expect(Math.max(...waits)).toBeLessThanOrEqual(CONVERGES_WITHIN_MS / 2);
});

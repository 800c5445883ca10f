import type { Clock } from '@sluice/domain';

/** Longest delay that a Node timer takes; a longer one would fire at once. */
const timerMsMax = 2 ** 31 - 1;

/** The machine's clock: the one place that reads the time. A timer does keep the process alive. */
export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  setTimer(delayMs, fn) {
    const timer = setTimeout(fn, Math.min(Math.max(0, delayMs), timerMsMax));
    return () => clearTimeout(timer);
  },
};

import type { Clock } from '@sluice/domain';

/** A clock that stands still until the test moves it. */
export interface ManualClock extends Clock {
  /**
   * Moves time forward, calling the timers that come due in order, each at its own time. Resolves after the callbacks'
   * promise chains have run as far as they go without real input or output.
   */
  advance(byMs: number): Promise<void>;
  /** Moves the wall clock alone, as an operator or NTP would: timers and `monotonicMs` do not notice. */
  jumpWallClock(byMs: number): void;
  /** Timers that are set and not yet called or cancelled. */
  readonly pendingTimers: number;
}

interface Timer {
  readonly dueMs: number;
  readonly fn: () => void;
}

/** `startMs` is Unix time; the default is a fixed date, so that nothing depends on the day of the run. */
export function manualClock(startMs = Date.UTC(2030, 0, 1)): ManualClock {
  let monotonicMs = 0;
  let wallOffsetMs = startMs;
  const timers = new Set<Timer>();

  const nextDue = (untilMs: number): Timer | undefined => {
    let first: Timer | undefined;
    // A Set keeps the order of insertion: among equals the one set first is called first.
    for (const timer of timers) if (timer.dueMs <= untilMs && (!first || timer.dueMs < first.dueMs)) first = timer;
    return first;
  };

  return {
    nowMs: () => wallOffsetMs + monotonicMs,
    monotonicMs: () => monotonicMs,
    setTimer(delayMs, fn) {
      const timer: Timer = { dueMs: monotonicMs + Math.max(0, delayMs), fn };
      timers.add(timer);
      return () => void timers.delete(timer);
    },
    async advance(byMs) {
      const untilMs = monotonicMs + byMs;
      await settle();
      for (let timer = nextDue(untilMs); timer; timer = nextDue(untilMs)) {
        timers.delete(timer);
        monotonicMs = Math.max(monotonicMs, timer.dueMs);
        timer.fn();
        await settle();
      }
      monotonicMs = untilMs;
    },
    jumpWallClock(byMs) {
      wallOffsetMs += byMs;
    },
    get pendingTimers() {
      return timers.size;
    },
  };
}

/** One turn of the event loop: all promise callbacks that can run have run. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

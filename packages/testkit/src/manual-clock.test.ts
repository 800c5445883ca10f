import { delay } from '@sluice/domain';
import { describe, expect, it } from 'vitest';
import { manualClock } from './manual-clock.ts';

describe('manualClock', () => {
  it('calls timers in the order of their time, each at its own time', async () => {
    const clock = manualClock(0);
    const seen: [string, number][] = [];
    clock.setTimer(30, () => seen.push(['c', clock.nowMs()]));
    clock.setTimer(10, () => seen.push(['a', clock.nowMs()]));
    clock.setTimer(10, () => seen.push(['b', clock.nowMs()]));
    await clock.advance(29);
    expect(seen).toEqual([
      ['a', 10],
      ['b', 10],
    ]);
    await clock.advance(1);
    expect(seen.at(-1)).toEqual(['c', 30]);
  });

  it('runs what a timer sets in motion, within the same move', async () => {
    const clock = manualClock(0);
    let rounds = 0;
    const loop = async (): Promise<void> => {
      while (rounds < 5) {
        await delay(clock, 10);
        rounds += 1;
      }
    };
    const looping = loop();
    await clock.advance(49);
    expect(rounds).toBe(4);
    await clock.advance(1);
    await looping;
    expect(clock.pendingTimers).toBe(0);
  });

  it('never calls a cancelled timer', async () => {
    const clock = manualClock();
    let isCalled = false;
    clock.setTimer(10, () => {
      isCalled = true;
    })();
    await clock.advance(100);
    expect(isCalled).toBe(false);
  });

  it('lets the wall clock jump without touching timers or monotonic time', async () => {
    const clock = manualClock(1_000_000);
    clock.setTimer(10, () => {});
    clock.jumpWallClock(-3_600_000);
    expect(clock.nowMs()).toBe(1_000_000 - 3_600_000);
    expect(clock.monotonicMs()).toBe(0);
    expect(clock.pendingTimers).toBe(1);
  });
});

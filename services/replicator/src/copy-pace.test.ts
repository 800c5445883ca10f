import { manualClock } from '@sluice/testkit';
import { describe, expect, it } from 'vitest';
import { CopyPace } from './copy-pace.ts';

const { signal } = new AbortController();

/** Lets what is due by now run its course. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function isDone(promise: Promise<void>): Promise<boolean> {
  let done = false;
  void promise.then(() => {
    done = true;
  });
  await settled();
  return done;
}

describe('the pace of a copy', () => {
  it('L16: no more bytes are read in a second than the bound, and what a pause saved is not caught up with', async () => {
    const clock = manualClock();
    const pace = new CopyPace({
      ...{ clock, bytesPerSecondMax: 1000, lagBytesMax: 1, readLagBytes: async () => 0 },
    });
    expect(await isDone(pace.admit(500, signal))).toBe(true);
    const second = pace.admit(500, signal);
    expect(await isDone(second)).toBe(false);
    await clock.advance(499);
    expect(await isDone(second)).toBe(false);
    await clock.advance(1);
    expect(await isDone(second)).toBe(true);
    await clock.advance(60_000);
    expect(await isDone(pace.admit(2000, signal))).toBe(true);
    const late = pace.admit(1, signal);
    await clock.advance(1999);
    expect(await isDone(late)).toBe(false);
    await clock.advance(1);
    expect(await isDone(late)).toBe(true);
  });

  it('L16: a copy stands still while the stream is too far behind, and goes on when it has come up', async () => {
    const clock = manualClock();
    let lag = 0;
    let asked = 0;
    const readLagBytes = async (): Promise<number> => {
      asked++;
      return lag;
    };
    const pace = new CopyPace({ clock, bytesPerSecondMax: 1e12, lagBytesMax: 100, readLagBytes });
    expect(await isDone(pace.admit(1, signal))).toBe(true);
    lag = 101;
    expect(await isDone(pace.admit(1, signal))).toBe(true);
    expect(asked).toBe(1);
    await clock.advance(1000);
    const waiting = pace.admit(1, signal);
    expect(await isDone(waiting)).toBe(false);
    await clock.advance(5000);
    expect(await isDone(waiting)).toBe(false);
    lag = 100;
    await clock.advance(1000);
    expect(await isDone(waiting)).toBe(true);
  });
});

import { barrierAt, type Lsn, lsnFromBigint } from '@sluice/domain';
import { describe, expect, it } from 'vitest';
import { AppliedTracker } from './applied-tracker.ts';

const at = (value: number): Lsn => lsnFromBigint(BigInt(value));
function tracker(): AppliedTracker {
  return new AppliedTracker({ applied: barrierAt(at(80)), barrierEndLsn: at(88), previousBarrierEndLsn: at(48) });
}

describe('AppliedTracker', () => {
  it('L2: confirms the end of the barrier before the last durable one, exactly', () => {
    const applied = tracker();
    expect(applied.confirmed).toBe(48n);
    applied.published(barrierAt(at(160)), at(168));
    applied.published(barrierAt(at(240)), at(248));
    expect(applied.confirmed).toBe(48n);
    applied.moved(barrierAt(at(160)));
    expect(applied.confirmed).toBe(88n);
    applied.moved(barrierAt(at(240)));
    expect(applied.confirmed).toBe(168n);
    expect(applied.framesInFlight).toBe(0);
  });

  it('L2: the inside of a transaction confirms nothing', () => {
    const applied = tracker();
    applied.published({ lsn: at(160), seq: 65535 }, at(0));
    applied.published(barrierAt(at(160)), at(168));
    applied.moved({ lsn: at(160), seq: 65535 });
    expect(applied.confirmed).toBe(48n);
    applied.moved(barrierAt(at(160)));
    expect(applied.confirmed).toBe(88n);
  });

  it('a position that was jumped over counts with those before it, and one that comes again does not', () => {
    const applied = tracker();
    applied.published(barrierAt(at(160)), at(168));
    applied.published(barrierAt(at(240)), at(248));
    applied.moved(barrierAt(at(240)));
    applied.moved(barrierAt(at(160)));
    expect(applied.confirmed).toBe(168n);
  });

  it('tells who waits when the barrier is durable, or when they stop waiting', async () => {
    const applied = tracker();
    const stop = new AbortController();
    const reached = applied.reached(at(160), new AbortController().signal);
    const given = applied.reached(at(999), stop.signal);
    applied.moved(barrierAt(at(168)));
    await reached;
    stop.abort();
    await given;
    await applied.reached(at(80), new AbortController().signal);
  });
});

import type { ShardRecord } from '@sluice/bucket-store';
import { barrierAt, type Lsn } from '@sluice/domain';
import { describe, expect, it } from 'vitest';
import { ShardsTracker } from './shards-tracker.ts';
import { startPointOf } from './start-point.ts';

const lsn = (value: number): Lsn => BigInt(value) as Lsn;
/** A shard whose last barrier is at `at`, after one that ended at `before`. */
function shard(number: number, at: number, before: number): ShardRecord {
  const barrier = { lsn: lsn(at), endLsn: lsn(at + 8) };
  return { shard: number, applied: barrierAt(lsn(at)), barrier, previousBarrierEndLsn: lsn(before) };
}
const never = new AbortController().signal;

describe('ShardsTracker', () => {
  it('L2: the source is told the least of what the shards allow', () => {
    const tracker = new ShardsTracker([shard(0, 160, 88), shard(1, 160, 88)]);
    expect(tracker.confirmed).toBe(lsn(88));
    for (const one of [0, 1]) for (const at of [240, 320]) tracker.published(one, barrierAt(lsn(at)), lsn(at + 8));
    tracker.moved(0, barrierAt(lsn(320)));
    expect([tracker.confirmed, tracker.framesInFlight]).toEqual([lsn(88), 2]);
    tracker.moved(1, barrierAt(lsn(240)));
    expect(tracker.confirmed).toBe(lsn(168));
    tracker.moved(1, barrierAt(lsn(320)));
    expect([tracker.confirmed, tracker.framesInFlight]).toEqual([lsn(248), 0]);
  });

  it('L4: a barrier is reached when every shard has it, also when their number changes meanwhile', async () => {
    const tracker = new ShardsTracker([shard(0, 160, 88), shard(1, 160, 88)]);
    let isReached = false;
    const reached = tracker.reached(lsn(240), never).then(() => {
      isReached = true;
    });
    tracker.moved(0, barrierAt(lsn(240)));
    await Promise.resolve();
    expect(isReached).toBe(false);
    tracker.restart([shard(0, 240, 168)]);
    await reached;
    expect(tracker.confirmed).toBe(lsn(168));
  });
});

describe('startPointOf', () => {
  it('L2: the stream starts where the last shard needs it, and that one has its barrier come again', () => {
    expect(startPointOf([shard(0, 320, 248), shard(1, 240, 168), shard(2, 320, 88)])).toEqual({
      applied: lsn(240),
      mustRepeat: true,
      startLsn: lsn(88),
      confirmedMax: lsn(88),
    });
  });

  it('while some shard has no durable commit nothing was confirmed', () => {
    expect(startPointOf([shard(0, 320, 248), shard(1, 99, 99)])).toMatchObject({
      applied: lsn(99),
      mustRepeat: false,
      startLsn: 0n,
      confirmedMax: undefined,
    });
  });
});

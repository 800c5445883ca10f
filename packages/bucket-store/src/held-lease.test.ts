import { parseProjectId } from '@sluice/domain';
import { assert } from '@sluice/errors';
import { manualClock } from '@sluice/testkit';
import { describe, expect, it } from 'vitest';
import { waitForLease, waitForShardLease } from './held-lease.ts';
import { createMemoryBucketStore } from './memory/memory-bucket-store.ts';

const project = parseProjectId(1);
const ttlMs = 6000;
const never = new AbortController().signal;

describe('waitForLease', () => {
  it('L3: keeps a lease for as long as it is renewed, and gives it back', async () => {
    const clock = manualClock();
    const store = createMemoryBucketStore(clock);
    const lease = await waitForLease({ store, project, clock, holder: 'a', ttlMs }, new AbortController().signal);
    assert(lease, 'the lease is free');
    await clock.advance(ttlMs * 10);
    expect(lease.signal.aborted).toBe(false);
    expect(await store.acquireLease(project, 'b', ttlMs)).toBeUndefined();
    await lease.release();
    expect(await store.acquireLease(project, 'b', ttlMs)).toBeGreaterThan(lease.token);
  });

  it('L3: gives a lease up before it can have passed to another, when the store does not answer', async () => {
    const clock = manualClock();
    const store = createMemoryBucketStore(clock);
    const lease = await waitForLease({ store, project, clock, holder: 'a', ttlMs }, new AbortController().signal);
    assert(lease, 'the lease is free');
    store.renewLease = () => new Promise(() => {});
    await clock.advance(ttlMs - 1);
    expect(lease.signal.aborted).toBe(true);
    expect(await store.acquireLease(project, 'b', ttlMs)).toBeUndefined();
  });

  it('L3: stops at once when another holds it', async () => {
    const clock = manualClock();
    const store = createMemoryBucketStore(clock);
    const lease = await waitForLease({ store, project, clock, holder: 'a', ttlMs }, new AbortController().signal);
    assert(lease, 'the lease is free');
    store.renewLease = async () => false;
    await clock.advance(ttlMs / 3);
    expect(lease.signal.aborted).toBe(true);
  });

  it('L3: a shard is held apart from the source, kept while it is renewed, and given back', async () => {
    const clock = manualClock();
    const store = createMemoryBucketStore(clock);
    const options = { store, project, clock, holder: 'a', ttlMs };
    const shards = await Promise.all([0, 1].map((shard) => waitForShardLease({ ...options, shard }, never)));
    await clock.advance(ttlMs * 10);
    expect(shards.map((lease) => lease?.signal.aborted)).toEqual([false, false]);
    expect(await store.acquireShardLease(project, 1, 'b', ttlMs)).toBeUndefined();
    await shards[1]?.release();
    expect(await store.acquireShardLease(project, 1, 'b', ttlMs)).toBeDefined();
    expect(await store.acquireShardLease(project, 0, 'b', ttlMs)).toBeUndefined();
  });

  it('waits for a lease that another holds, or until it is told to stop', async () => {
    const clock = manualClock();
    const store = createMemoryBucketStore(clock);
    await store.acquireLease(project, 'b', ttlMs);
    const stop = new AbortController();
    const waiting = waitForLease({ store, project, clock, holder: 'a', ttlMs }, stop.signal);
    await clock.advance(ttlMs * 2);
    expect(await waiting).toBeDefined();
    const refused = waitForLease({ store, project, clock, holder: 'c', ttlMs }, stop.signal);
    await clock.advance(1);
    stop.abort();
    expect(await refused).toBeUndefined();
  });
});

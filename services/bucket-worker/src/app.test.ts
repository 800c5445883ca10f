import { type BucketStore, bucketIdOf, createMemoryBucketStore, lookupIdOf } from '@sluice/bucket-store';
import {
  barrierAt,
  type Epoch,
  type LeaseToken,
  type Lsn,
  type ProjectId,
  type ShardLeaseToken,
  type StreamNo,
} from '@sluice/domain';
import { AppError } from '@sluice/errors';
import {
  createMemoryOpQueue,
  createMemoryWakeUps,
  type Frame,
  type SnapshotFrame,
  type StreamFrame,
  type WakeUp,
} from '@sluice/op-queue';
import { createLogger } from '@sluice/telemetry';
import { type ManualClock, manualClock } from '@sluice/testkit';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createBucketWorker } from './app.ts';
import { paramKey } from './convergence.fixture.ts';
import {
  changesOf,
  ITEMS_OID,
  insertMessage,
  itemColumns,
  itemsPlan,
  MEMBERS_OID,
  relationMessage,
  truncateMessage,
} from './wal.fixture.ts';

const project = 1 as ProjectId;
const identity = { slot: 's', publication: 'p', systemId: '1', timeline: 1, databaseOid: 1 };
const retyped = relationMessage(
  ITEMS_OID,
  'items',
  itemColumns.map((column) => ({ ...column, typeOid: 17 })),
);
const item = (id: string, a: string) => insertMessage(ITEMS_OID, [id, a, null, 'body']);

/** A store whose answers can be made to fail; what is not failed goes through to the memory adapter. */
function faultyStore(inner: BucketStore) {
  const faults: ('before' | 'after')[] = [];
  const store: BucketStore = {
    ...inner,
    async applyFrame(commit) {
      const fault = faults.shift();
      if (fault === 'before') throw new AppError('STORE_UNAVAILABLE');
      const outcome = await inner.applyFrame(commit);
      if (fault === 'after') throw new AppError('STORE_UNAVAILABLE');
      return outcome;
    },
  };
  return { store, faults };
}

describe('bucket worker', () => {
  let clock: ManualClock;
  let inner: BucketStore;
  let faults: ('before' | 'after')[];
  let queue: ReturnType<typeof createMemoryOpQueue>;
  let wakeUps: ReturnType<typeof createMemoryWakeUps>;
  let seen: WakeUp[];
  let token: LeaseToken;
  let epoch: Epoch;
  let stream: StreamNo;
  let stop: AbortController;
  let running: Promise<unknown>;

  beforeEach(async () => {
    clock = manualClock();
    inner = createMemoryBucketStore(clock);
    const faulty = faultyStore(inner);
    faults = faulty.faults;
    queue = createMemoryOpQueue({ bytesMaxPerShard: 1 << 20 });
    wakeUps = createMemoryWakeUps();
    seen = [];
    wakeUps.subscribe(project, (wakeUp) => seen.push(wakeUp));
    token = (await inner.acquireLease(project, 'test', 1e9)) as LeaseToken;
    epoch = await inner.openEpoch(project, token, identity, barrierAt(99n as Lsn), 1);
    stream = await add();
    stop = new AbortController();
    const logger = createLogger({ service: 'test', level: 'error', clock, destination: { write: () => {} } });
    const worker = createBucketWorker({ store: faulty.store, queue, wakeUps, clock, logger, holder: 'worker' });
    running = worker.run(project, 0, stop.signal).catch((error: unknown) => error);
  });
  afterEach(async () => {
    stop.abort();
    await running;
  });

  async function add(): Promise<StreamNo> {
    const plans = [{ name: 'items', contentHash: 'items-1', plan: itemsPlan }];
    const added = await inner.addStreams(project, token, epoch, plans, 99n as Lsn);
    return added[0]?.stream as StreamNo;
  }
  async function show(): Promise<void> {
    await inner.setBackfillPoint(project, token, [stream], 100n as Lsn);
    for (const table of ['items', 'members']) await send(copy({ table }));
    await send(frame(99, 100, []));
    await inner.switchStreams(project, token, epoch, { show: [stream], drop: [] });
    wakeUps.publish({ kind: 'streams', project });
    await clock.advance(0);
    seen.length = 0;
  }
  function frame(
    from: number,
    to: number,
    messages: readonly Uint8Array[],
    change: Partial<StreamFrame> = {},
  ): StreamFrame {
    const changes = changesOf([{ lsn: BigInt(to), ordinal: 1, messages }]);
    const [prev, end] = [barrierAt(BigInt(from) as Lsn), barrierAt(BigInt(to) as Lsn)];
    const head = { project, epoch, shard: 0, mapVersion: 1, leaseToken: token, committedAtMs: to };
    return { kind: 'stream', ...head, prev, end, endLsn: BigInt(to + 8) as Lsn, changes, ...change };
  }
  function copy(change: Partial<SnapshotFrame> = {}): SnapshotFrame {
    const head = { project, epoch, shard: 0, leaseToken: token, streams: [stream], pointLsn: 100n as Lsn };
    return {
      kind: 'snapshot',
      ...head,
      schema: 'public',
      table: 'items',
      part: 0,
      last: true,
      changes: changesOf([]),
      ...change,
    };
  }
  /** Publishes frames and lets the worker come to rest. */
  async function send(...frames: readonly Frame[]): Promise<void> {
    for (const one of frames) await queue.publish(one, stop.signal);
    for (let turn = 0; turn < 5; turn++) await clock.advance(0);
  }
  const kinds = (): string[] => seen.map(({ kind }) => kind);
  const appliedLsn = async (): Promise<bigint | undefined> => {
    const source = await inner.readSource(project);
    return (source?.serving ?? source?.building)?.shards[0]?.applied.lsn;
  };
  const bucket = (a: string) => bucketIdOf(stream, 0, paramKey(a));

  test('a checkpoint is told with everything that changed since the one before, in frames without one too', async () => {
    await show();
    await inner.holdCheckpoints(project, token, epoch, true);
    await send(frame(100, 110, [item('k', 'x'), insertMessage(MEMBERS_OID, ['1', 'ann', 'red'])]));
    await inner.holdCheckpoints(project, token, epoch, false);
    await send(frame(110, 120, [item('l', 'y'), truncateMessage([MEMBERS_OID])]));
    expect(seen).toEqual([
      { kind: 'applied', project, epoch, shard: 0, position: barrierAt(110n as Lsn) },
      { kind: 'applied', project, epoch, shard: 0, position: barrierAt(120n as Lsn) },
      {
        kind: 'checkpoint',
        project,
        checkpoint: { epoch, lsn: 120n, committedAtMs: 120 },
        previousLsn: 99n,
        shards: 1,
        inUse: [stream],
        buckets: [bucket('x'), bucket('y')],
        lookups: [lookupIdOf(stream, 0, paramKey('ann'))],
        truncated: [stream],
      },
    ]);
    seen.length = 0;
    await send(frame(120, 130, [item('m', 'y')]));
    expect(seen.at(-1)).toMatchObject({ kind: 'checkpoint', previousLsn: 120n, buckets: [bucket('y')], lookups: [] });
  });

  test('L3: a gap is told once, not for each frame behind it, and again when it persists', async () => {
    await show();
    await send(frame(110, 120, []), frame(120, 130, []), frame(130, 140, []));
    expect(kinds()).toEqual(['gap']);
    await clock.advance(1_000);
    await send(frame(140, 150, []));
    expect(kinds()).toEqual(['gap', 'gap']);
    await send(frame(100, 110, [item('k', 'x')]), frame(110, 120, []));
    expect(await appliedLsn()).toBe(120n);
  });

  test('L3: a worker whose shard was taken leaves its frame to the next, stops nobody, and goes on when it has the shard again', async () => {
    await show();
    // As a process of the same name that was started beside this one.
    await inner.acquireShardLease(project, 0, 'worker', 1e9);
    await send(frame(100, 110, [item('k', 'x')]));
    expect(await appliedLsn()).toBe(100n);
    expect((await inner.readSource(project))?.condition.state).not.toBe('stopped');
    await send(frame(110, 120, [item('l', 'x')]));
    expect(kinds()).toContain('gap');
    await send(frame(100, 110, [item('k', 'x')]), frame(110, 120, [item('l', 'x')]));
    expect(await appliedLsn()).toBe(120n);
  });

  test('L3: nothing is applied before the shard is free', async () => {
    stop.abort();
    await running;
    const token = await inner.acquireShardLease(project, 0, 'other', 60_000);
    stop = new AbortController();
    const logger = createLogger({ service: 'test', level: 'error', clock, destination: { write: () => {} } });
    const worker = createBucketWorker({ store: inner, queue, wakeUps, clock, logger });
    running = worker.run(project, 0, stop.signal);
    await send(frame(99, 100, []));
    expect(await appliedLsn()).toBe(99n);
    await inner.releaseShardLease(project, 0, token as ShardLeaseToken);
    await clock.advance(15_000);
    await send();
    expect(await appliedLsn()).toBe(100n);
  });

  test('while the store does not answer nothing is skipped, and later frames wait their turn', async () => {
    await show();
    faults.push('before', 'before', 'before');
    await send(frame(100, 110, [item('k', 'x')]), frame(110, 120, [item('l', 'x')]));
    expect(await appliedLsn()).toBe(100n);
    await clock.advance(50);
    await clock.advance(100);
    await clock.advance(200);
    await send();
    expect(await appliedLsn()).toBe(120n);
    expect(kinds().filter((kind) => kind === 'checkpoint')).toHaveLength(2);
  });

  test('L3: a commit whose answer was lost is not repeated, and its checkpoint is told', async () => {
    await show();
    faults.push('after');
    await send(frame(100, 110, [item('k', 'x')]), frame(110, 120, [item('l', 'y')]));
    await clock.advance(50);
    await send();
    const told = seen.filter((wakeUp) => wakeUp.kind === 'checkpoint');
    expect(told.map((wakeUp) => [wakeUp.checkpoint.lsn, wakeUp.buckets])).toEqual([
      [110n, [bucket('x')]],
      [120n, [bucket('y')]],
    ]);
    const sums = await inner.readSums(project, [{ stream, bucket: bucket('x') }], 120n as Lsn);
    expect(sums.get(bucket('x'))?.rows).toBe(1);
  });

  test('L3: frames of a former lease are dropped, and those of the new one are applied', async () => {
    await show();
    const stale = frame(100, 110, [item('k', 'x')]);
    token = (await inner.acquireLease(project, 'test', 1e9)) as LeaseToken;
    await send(stale);
    expect(await appliedLsn()).toBe(100n);
    await send(frame(100, 110, [item('k', 'x')]));
    expect(await appliedLsn()).toBe(110n);
  });

  test('L11: a stream that was added unheard gets the rows of the next frame', async () => {
    await show();
    const fresh = await add();
    await send(frame(100, 110, [item('k', 'x')]));
    const ref = { stream: fresh, bucket: bucketIdOf(fresh, 0, paramKey('x')) };
    expect((await inner.readSums(project, [ref], 110n as Lsn)).get(ref.bucket)?.rows).toBe(1);
  });

  test('L17: a frame whose table no longer fits waits for as long as it takes until checkpoints are held, and all behind it too', async () => {
    await show();
    const changes = changesOf([{ lsn: 110n, ordinal: 1, messages: [item('k', 'x')] }], [retyped]);
    await send(frame(100, 110, [], { changes }), frame(110, 120, []));
    await clock.advance(120_000);
    expect(await appliedLsn()).toBe(100n);
    expect((await inner.readSource(project))?.condition.state).not.toBe('stopped');
    await inner.holdCheckpoints(project, token, epoch, true);
    await clock.advance(1_000);
    await send();
    expect(await appliedLsn()).toBe(120n);
    expect((await inner.readCheckpoint(project))?.lsn).toBeUndefined();
    expect(kinds()).toEqual(['applied', 'applied']);
  });

  test('a refused frame is looked at again as soon as streams change', async () => {
    await show();
    const changes = changesOf([{ lsn: 110n, ordinal: 1, messages: [item('k', 'x')] }], [retyped]);
    await send(frame(100, 110, [], { changes }));
    await inner.switchStreams(project, token, epoch, { show: [], drop: [stream] });
    wakeUps.publish({ kind: 'streams', project });
    await send();
    expect(await appliedLsn()).toBe(110n);
  });

  test('L10: parts of a copy are applied once and told; those that nobody waits for are refused', async () => {
    await inner.setBackfillPoint(project, token, [stream], 100n as Lsn);
    const rows = changesOf([], [relationMessage(ITEMS_OID, 'items', itemColumns), item('k', 'x')]);
    await send(
      copy({ changes: rows }),
      copy({ changes: rows }),
      copy({ pointLsn: 90n as Lsn }),
      copy({ streams: [99 as StreamNo] }),
    );
    const told = seen.map((wakeUp) => (wakeUp.kind === 'snapshot-part' ? [wakeUp.table, wakeUp.outcome] : wakeUp.kind));
    expect(told).toEqual([
      ['public.items', 'applied'],
      ['public.items', 'applied'],
      ['public.items', 'refused'],
      ['public.items', 'refused'],
    ]);
    const sums = await inner.readSums(project, [{ stream, bucket: bucket('x') }], 100n as Lsn);
    expect(sums.get(bucket('x'))?.rows).toBe(1);
  });

  test('L17: bytes that cannot be read stop the shard loudly; frames before them are applied, none after', async () => {
    await show();
    const bad = frame(110, 120, [], { changes: Uint8Array.of(1, 2, 3) });
    await send(frame(100, 110, [item('k', 'x')]), bad, frame(120, 130, []));
    expect(await running).toBeInstanceOf(Error);
    expect(await appliedLsn()).toBe(110n);
    expect((await inner.readSource(project))?.condition).toMatchObject({ state: 'stopped', code: 'WORKER_STOPPED' });
  });

  test('frames of an epoch that is gone are dropped', async () => {
    await show();
    await send(frame(100, 110, [], { epoch: 77 as Epoch }), frame(100, 110, []));
    expect(await appliedLsn()).toBe(110n);
  });

  test('the worker ends when asked, also while it waits for the store', async () => {
    await show();
    faults.push(...Array.from({ length: 100 }, () => 'before' as const));
    await send(frame(100, 110, []), frame(110, 120, []));
    stop.abort();
    expect(await running).toBeUndefined();
    expect(clock.pendingTimers).toBe(0);
  });
});

import type { Epoch, LeaseToken, Lsn, ProjectId } from '@sluice/domain';
import { describe, expect, test } from 'vitest';
import type { Frame, StreamFrame } from '../frame.ts';
import type { OpQueue, TakenFrame, WakeUp, WakeUps } from '../port.ts';

const project = 7 as ProjectId;
const other = 8 as ProjectId;
const never = new AbortController().signal;
const PROBE = { timeout: 5_000, interval: 5 };

function frame(n: number, changes = 10, of: ProjectId = project, shard = 0): StreamFrame {
  return {
    kind: 'stream',
    project: of,
    epoch: 1 as Epoch,
    shard,
    mapVersion: 1,
    leaseToken: 1n as LeaseToken,
    prev: { lsn: BigInt(n) as Lsn, seq: 0 },
    end: { lsn: BigInt(n + 1) as Lsn, seq: 0 },
    endLsn: 0n as Lsn,
    committedAtMs: 0,
    changes: new Uint8Array(changes).fill(n),
  };
}
const numberOf = (taken: Frame): number => (taken.kind === 'stream' ? Number(taken.prev.lsn) : -1);

/** What every op queue keeps while nothing fails. `create` gives one whose bound is `bytesMaxPerShard`. */
export function describeOpQueue(
  name: string,
  create: (bytesMaxPerShard: number) => Promise<{ queue: OpQueue; close(): Promise<void> }>,
): void {
  const withQueue = async (bytesMax: number, run: (queue: OpQueue) => Promise<void>): Promise<void> => {
    const subject = await create(bytesMax);
    try {
      await run(subject.queue);
    } finally {
      await subject.close();
    }
  };
  const takeOne = async (queue: OpQueue, of: ProjectId = project, shard = 0): Promise<TakenFrame> => {
    for await (const taken of queue.take(of, shard, never)) return taken;
    throw new Error('the queue ended');
  };
  /** Whether the publisher has got its room once everything that can run has run. */
  const isSettled = async (promise: Promise<unknown>): Promise<boolean> => {
    let settled = false;
    const mark = (): void => {
      settled = true;
    };
    promise.then(mark, mark);
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    return settled;
  };

  describe(`op queue conformance: ${name}`, () => {
    test('frames of a shard are taken in order, bytes and all, with several taken before the first is done', () =>
      withQueue(1000, async (queue) => {
        for (let n = 1; n <= 5; n++) await queue.publish(frame(n), never);
        const seen: Frame[] = [];
        for await (const taken of queue.take(project, 0, never)) {
          seen.push(taken.frame);
          if (seen.length === 5) break;
        }
        expect(seen.map(numberOf)).toEqual([1, 2, 3, 4, 5]);
        expect(seen.map((taken) => [...taken.changes])).toEqual([1, 2, 3, 4, 5].map((n) => Array(10).fill(n)));
      }));

    test('projects and shards do not meet', () =>
      withQueue(1000, async (queue) => {
        await queue.publish(frame(1, 10, other), never);
        await queue.publish(frame(2, 10, project, 1), never);
        await queue.publish(frame(3), never);
        expect(numberOf((await takeOne(queue)).frame)).toBe(3);
        expect(numberOf((await takeOne(queue, other)).frame)).toBe(1);
        expect(numberOf((await takeOne(queue, project, 1)).frame)).toBe(2);
      }));

    test('L16: a publisher waits until what was taken is done, and waiting ones keep their order', () =>
      withQueue(100, async (queue) => {
        await queue.publish(frame(1, 60), never);
        const second = queue.publish(frame(2, 60), never);
        const third = queue.publish(frame(3, 10), never);
        const first = await takeOne(queue);
        expect(await isSettled(second)).toBe(false);
        expect(await isSettled(third)).toBe(false);
        first.done();
        await second;
        await third;
        expect(numberOf((await takeOne(queue)).frame)).toBe(2);
        expect(numberOf((await takeOne(queue)).frame)).toBe(3);
      }));

    test('a frame larger than the bound goes through an empty shard', () =>
      withQueue(100, async (queue) => {
        await queue.publish(frame(1, 500), never);
        expect((await takeOne(queue)).frame.changes.length).toBe(500);
      }));

    test('an aborted publisher leaves the line, and the next one gets its room', () =>
      withQueue(100, async (queue) => {
        await queue.publish(frame(1, 60), never);
        const abort = new AbortController();
        const second = queue.publish(frame(2, 60), abort.signal);
        const third = queue.publish(frame(3, 30), never);
        abort.abort(new Error('given up'));
        await expect(second).rejects.toThrow('given up');
        await third;
        expect(numberOf((await takeOne(queue)).frame)).toBe(1);
        expect(numberOf((await takeOne(queue)).frame)).toBe(3);
      }));

    test('clear forgets a project, lets its publishers go on, and room is counted from nothing', () =>
      withQueue(100, async (queue) => {
        await queue.publish(frame(1, 60), never);
        await queue.publish(frame(9, 60, other), never);
        const taken = await takeOne(queue);
        await queue.publish(frame(2, 40), never);
        const third = queue.publish(frame(3, 60), never);
        await queue.clear(project);
        await third;
        taken.done();
        await queue.publish(frame(4, 90), never);
        const late = queue.publish(frame(5, 20), never);
        expect(await isSettled(late)).toBe(false);
        const fourth = await takeOne(queue);
        expect(numberOf(fourth.frame)).toBe(4);
        fourth.done();
        fourth.done();
        await late;
        expect(numberOf((await takeOne(queue, other)).frame)).toBe(9);
      }));

    test('a taker that waits through a clear gets everything that is published after it', () =>
      withQueue(1000, async (queue) => {
        const taking = queue.take(project, 0, never)[Symbol.asyncIterator]();
        await queue.publish(frame(9), never);
        expect((await taking.next()).value?.frame).toMatchObject({ kind: 'stream', prev: { lsn: 9n } });
        const first = taking.next();
        await queue.clear(project);
        for (const n of [1, 2, 3]) await queue.publish(frame(n), never);
        const seen = [await first, await taking.next(), await taking.next()];
        expect(seen.map(({ value }) => value && numberOf(value.frame))).toEqual([1, 2, 3]);
        await taking.return?.();
      }));

    test('a shard is empty when nothing is queued and everything that was taken is done', () =>
      withQueue(100, async (queue) => {
        expect(await queue.isEmpty(project, 0)).toBe(true);
        await queue.publish(frame(1), never);
        await queue.publish(frame(2, 10, project, 1), never);
        expect(await queue.isEmpty(project, 0)).toBe(false);
        const taken = await takeOne(queue);
        expect(await queue.isEmpty(project, 0)).toBe(false);
        taken.done();
        await expect.poll(() => queue.isEmpty(project, 0), PROBE).toBe(true);
        expect(await queue.isEmpty(project, 1)).toBe(false);
        await queue.clear(project);
        expect(await queue.isEmpty(project, 1)).toBe(true);
      }));

    test('taking ends with its signal, also while it waits', () =>
      withQueue(100, async (queue) => {
        const abort = new AbortController();
        const next = queue.take(project, 0, abort.signal)[Symbol.asyncIterator]().next();
        expect(await isSettled(next)).toBe(false);
        abort.abort();
        expect((await next).done).toBe(true);
        await queue.publish(frame(1), never);
        expect(numberOf((await takeOne(queue)).frame)).toBe(1);
      }));
  });
}

/** What every carrier of wake-ups keeps while nothing fails. `settled` resolves when subscriptions are in force. */
export function describeWakeUps(
  name: string,
  create: () => Promise<{ wakeUps: WakeUps; settled(): Promise<void>; close(): Promise<void> }>,
): void {
  describe(`wake-ups conformance: ${name}`, () => {
    test('each listener gets the wake-ups of its project in order, until it ends its subscription', async () => {
      const subject = await create();
      const { wakeUps } = subject;
      const seen: string[] = [];
      const arrived = (): Promise<void> =>
        new Promise((resolve) => {
          const stop = wakeUps.subscribe('all', (wakeUp) => {
            if (wakeUp.kind !== 'project') return;
            stop();
            resolve();
          });
        });
      const stop = wakeUps.subscribe(project, (wakeUp) => seen.push(`own ${wakeUp.kind} ${wakeUp.project}`));
      wakeUps.subscribe('all', (wakeUp) => seen.push(`all ${wakeUp.kind} ${wakeUp.project}`));
      const send = async (kinds: readonly ['streams' | 'gap', ProjectId][]): Promise<void> => {
        const end = arrived();
        await subject.settled();
        for (const [kind, of] of kinds) wakeUps.publish(wakeUpOf(kind, of));
        wakeUps.publish({ kind: 'project', project: 99 as ProjectId });
        await end;
      };
      await send([
        ['streams', project],
        ['gap', other],
        ['gap', project],
      ]);
      stop();
      await send([['streams', project]]);
      expect(seen.filter((line) => line.startsWith('own'))).toEqual(['own streams 7', 'own gap 7']);
      expect(seen.filter((line) => line.startsWith('all') && !line.includes('project'))).toEqual([
        'all streams 7',
        'all gap 8',
        'all gap 7',
        'all streams 7',
      ]);
      await subject.close();
    });
  });
}

function wakeUpOf(kind: 'streams' | 'gap', of: ProjectId): WakeUp {
  return kind === 'streams' ? { kind, project: of } : { kind, project: of, epoch: 1 as Epoch, shard: 0 };
}

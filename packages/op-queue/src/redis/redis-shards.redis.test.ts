import { type FreshRedis, freshRedis, waitFor } from '@sluice/testkit';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { frame, isEmpty, never, numberOf, openQueue, project, takeSome, withClient } from './queue.fixture.ts';

let redis: FreshRedis;
beforeAll(async () => {
  redis = await freshRedis();
});
beforeEach(() => withClient(redis.url, (client) => client.flushall()));
afterAll(async () => await redis[Symbol.asyncDispose]());

describe('frames between processes', () => {
  it('what a crashed consumer had taken comes first, in order, to the next one', async () => {
    const [producer, crashing, next] = [
      await openQueue(redis.url),
      await openQueue(redis.url),
      await openQueue(redis.url),
    ];
    for (let n = 1; n <= 5; n++) await producer.publish(frame(n), never);
    const [first] = await takeSome(crashing, 3, { keep: true });
    first?.done();
    await crashing.close();
    await producer.publish(frame(6), never);
    expect((await takeSome(next, 5)).map(numberOf)).toEqual([2, 3, 4, 5, 6]);
    await waitFor(() => isEmpty(redis.url), { what: 'the room to be free' });
    await Promise.all([producer.close(), next.close()]);
  });

  it('what a stopped consumer had not finished is given to the next one of the same process', async () => {
    const queue = await openQueue(redis.url);
    for (let n = 1; n <= 3; n++) await queue.publish(frame(n), never);
    const stopping = new AbortController();
    for await (const taken of queue.take(project, 0, stopping.signal)) {
      if (numberOf(taken) === 1) taken.done();
      else stopping.abort();
    }
    expect((await takeSome(queue, 2)).map(numberOf)).toEqual([2, 3]);
    await queue.close();
  });

  it('what Redis gave to a dead link of the consumer reaches the living one', async () => {
    const queue = await openQueue(redis.url);
    await queue.publish(frame(1), never);
    const taking = queue.take(project, 0, never)[Symbol.asyncIterator]();
    (await taking.next()).value?.done();
    await queue.publish(frame(2), never);
    await withClient(redis.url, async (dead) => {
      const take = (): Promise<unknown> =>
        dead.xreadgroup('GROUP', 'workers', 'worker', 'COUNT', 1, 'STREAMS', 'sluice:{7:0}:frames', '>');
      await waitFor(take, { what: 'the dead link to be given the frame' });
    });
    const second = (await taking.next()).value;
    expect(second && numberOf(second)).toBe(2);
    await taking.return?.();
    await queue.close();
  });

  it('L16: the bound holds for two producers together, and the frames of each keep their order', async () => {
    const producers = [await openQueue(redis.url, 100), await openQueue(redis.url, 100)];
    const consumer = await openQueue(redis.url, 100);
    const publishing = producers.map(async (queue, who) => {
      for (let n = 1; n <= 50; n++) await queue.publish(frame(who * 1000 + n, 10), never);
    });
    const seen: number[] = [];
    let highest = 0;
    await withClient(redis.url, async (client) => {
      for await (const taken of consumer.take(project, 0, never)) {
        highest = Math.max(highest, Number(await client.get('sluice:{7:0}:bytes')));
        seen.push(numberOf(taken));
        taken.done();
        if (seen.length === 100) break;
      }
    });
    await Promise.all(publishing);
    expect(highest).toBeGreaterThan(50);
    expect(highest).toBeLessThanOrEqual(100);
    for (const who of [0, 1])
      expect(seen.filter((n) => Math.floor(n / 1000) === who)).toEqual(
        Array.from({ length: 50 }, (_, i) => who * 1000 + i + 1),
      );
    await Promise.all([...producers, consumer].map((queue) => queue.close()));
  });

  it('clear reaches every shard, also those that only another process filled', async () => {
    const [producer, other] = [await openQueue(redis.url), await openQueue(redis.url)];
    for (const shard of [0, 3]) await producer.publish(frame(1, 10, shard), never);
    await takeSome(producer, 1, { keep: true });
    await other.clear(project);
    for (const shard of [0, 3]) {
      await producer.publish(frame(2, 10, shard), never);
      expect((await takeSome(other, 1, { shard })).map(numberOf)).toEqual([2]);
    }
    await Promise.all([producer.close(), other.close()]);
  });

  it('a frame of 8 MB goes through as one entry', async () => {
    const queue = await openQueue(redis.url, 64 << 20);
    await queue.publish(frame(9, 8 << 20), never);
    const [taken] = await takeSome(queue, 1);
    expect(taken?.frame.changes.length).toBe(8 << 20);
    expect(taken?.frame.changes.every((byte) => byte === 9)).toBe(true);
    await queue.close();
  });

  it('many small frames share commands, and arrive in order', async () => {
    const queue = await openQueue(redis.url);
    await queue.publish(frame(0), never);
    await withClient(redis.url, async (client) => {
      await client.config('RESETSTAT');
      await Promise.all(Array.from({ length: 2_000 }, (_, i) => queue.publish(frame(i + 1), never)));
      const stats = await client.info('commandstats');
      expect(Number(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1])).toBeLessThan(40);
    });
    const seen = (await takeSome(queue, 2_001)).map(numberOf);
    expect(seen).toEqual(Array.from({ length: 2_001 }, (_, i) => i));
    await waitFor(() => isEmpty(redis.url), { what: 'the room to be free' });
    await queue.close();
  });

  it('an entry that is no frame of this shard is dropped, told, and gives its room back', async () => {
    const troubles: string[] = [];
    const queue = await openQueue(redis.url, 1 << 20, ({ code }) => troubles.push(code));
    await withClient(redis.url, async (client) => {
      await client.xadd('sluice:{7:0}:frames', '*', 'bytes', '5', 'frame', 'rubbish');
      await client.xadd('sluice:{7:0}:frames', '*', 'other', 'thing');
      await queue.publish(frame(1, 10, 4), never);
      const [[, fields]] = (await client.xrangeBuffer('sluice:{7:4}:frames', '-', '+')) as [[Buffer, Buffer[]]];
      await client.xadd('sluice:{7:0}:frames', '*', ...fields);
    });
    await queue.publish(frame(2), never);
    expect((await takeSome(queue, 1)).map(numberOf)).toEqual([2]);
    expect(troubles).toContain('QUEUE_FRAME_MALFORMED');
    await waitFor(() => isEmpty(redis.url), { what: 'the room to be free' });
    await queue.close();
  });
});

import { freshRedis, tcpProxy, waitFor } from '@sluice/testkit';
import { describe, expect, it } from 'vitest';
import { frame, isEmpty, never, numberOf, openQueue, project, takeSome, withClient } from './queue.fixture.ts';

/** Takes and finishes frames in the background; the numbers seen so far. */
function consume(queue: Awaited<ReturnType<typeof openQueue>>): { seen: number[]; stop(): Promise<void> } {
  const stopping = new AbortController();
  const seen: number[] = [];
  const ended = (async () => {
    for await (const taken of queue.take(project, 0, stopping.signal)) {
      seen.push(numberOf(taken));
      taken.done();
    }
  })();
  return {
    seen,
    async stop() {
      stopping.abort();
      await ended;
    },
  };
}

describe('L3: a queue on Redis goes on by itself', () => {
  it('after kill -9 and a restart with nothing in it: frames of before may be gone, later ones arrive in order', async () => {
    await using redis = await freshRedis();
    const queue = await openQueue(redis.url);
    const consumer = consume(queue);
    await queue.publish(frame(1), never);
    await waitFor(() => consumer.seen.length === 1, { what: 'the first frame' });
    await redis.kill();
    const publishing = [2, 3, 4].map((n) => queue.publish(frame(n), never));
    await redis.restart();
    await Promise.all(publishing);
    await waitFor(() => consumer.seen.at(-1) === 4, { what: 'a frame after the restart' });
    expect(consumer.seen).toEqual([1, 2, 3, 4]);
    await waitFor(() => isEmpty(redis.url), { what: 'the room to be free' });
    await consumer.stop();
    await queue.close();
  });

  it('after FLUSHALL, with frames queued, taken and waited for: their room is free, later frames arrive', async () => {
    await using redis = await freshRedis();
    const queue = await openQueue(redis.url, 100);
    await queue.publish(frame(1, 60), never);
    const [first] = await takeSome(queue, 1, { keep: true });
    await queue.publish(frame(2, 40), never);
    const waiting = queue.publish(frame(3, 60), never);
    await withClient(redis.url, (client) => client.flushall());
    await waiting;
    first?.done();
    const consumer = consume(queue);
    await waitFor(() => consumer.seen.includes(3), { what: 'the frame that waited' });
    await withClient(redis.url, (client) => client.flushall());
    await queue.publish(frame(4, 100), never);
    await waitFor(() => consumer.seen.includes(4), { what: 'a frame after a flush under a waiting consumer' });
    await waitFor(() => isEmpty(redis.url), { what: 'the room to be free' });
    await consumer.stop();
    await queue.close();
  });

  it('a count of bytes that outlived its frames holds no room', async () => {
    await using redis = await freshRedis();
    const queue = await openQueue(redis.url, 100);
    await withClient(redis.url, (client) => client.set('sluice:{7:0}:bytes', '1000000'));
    await queue.publish(frame(1, 90), never);
    expect((await takeSome(queue, 1)).map(numberOf)).toEqual([1]);
    await waitFor(() => isEmpty(redis.url), { what: 'the room to be free' });
    await queue.close();
  });

  it('a key of the queue that somebody made something else is replaced', async () => {
    await using redis = await freshRedis();
    const queue = await openQueue(redis.url);
    await withClient(redis.url, (client) => client.set('sluice:{7:0}:frames', 'not a stream'));
    await queue.publish(frame(1), never);
    expect((await takeSome(queue, 1)).map(numberOf)).toEqual([1]);
    await queue.close();
  });

  it('L16: a Redis whose memory is full is a full queue: the publisher waits and nothing is lost', async () => {
    await using redis = await freshRedis();
    const troubles: string[] = [];
    const queue = await openQueue(redis.url, 64 << 20, ({ code }) => troubles.push(code));
    await withClient(redis.url, async (client) => {
      await queue.publish(frame(1, 1_000_000), never);
      await client.config(
        'SET',
        'maxmemory',
        String(Number(/used_memory:(\d+)/.exec(await client.info())?.[1]) + 3_000_000),
      );
      let published = 1;
      const publishing = (async () => {
        for (let n = 2; n <= 12; n++) {
          await queue.publish(frame(n, 1_000_000), never);
          published = n;
        }
      })();
      await waitFor(async () => /OOM|errorstat_OOM:count=\d/.test(await client.info('errorstats')), {
        what: 'Redis to refuse',
      });
      expect(published).toBeLessThan(12);
      await waitFor(() => troubles.length > 0, { what: 'the operator to be told' });
      expect(new Set(troubles)).toEqual(new Set(['QUEUE_MEMORY_FULL']));
      const consumer = consume(queue);
      await publishing;
      await waitFor(() => consumer.seen.length === 12, { what: 'all frames' });
      expect(consumer.seen).toEqual(Array.from({ length: 12 }, (_, i) => i + 1));
      await consumer.stop();
    });
    await queue.close();
  });

  it('after its links were cut at any moment: a frame may come twice, none out of order', async () => {
    await using redis = await freshRedis();
    await using proxy = await tcpProxy({ port: redis.port });
    const queue = await openQueue(`redis://127.0.0.1:${proxy.port}`);
    const consumer = consume(queue);
    for (let n = 1; n <= 200; n++) {
      if (n % 40 === 0) proxy.cut();
      await queue.publish(frame(n), never);
    }
    await waitFor(() => consumer.seen.includes(200), { what: 'the last frame' });
    const first = consumer.seen.filter((n, at) => consumer.seen.indexOf(n) === at);
    expect(first).toEqual(Array.from({ length: 200 }, (_, i) => i + 1));
    await waitFor(() => isEmpty(redis.url), { what: 'the room to be free' });
    await consumer.stop();
    await queue.close();
  });

  it('what was done while the link was away gives its room back when it returns', async () => {
    await using redis = await freshRedis();
    await using proxy = await tcpProxy({ port: redis.port });
    const queue = await openQueue(`redis://127.0.0.1:${proxy.port}`);
    await queue.publish(frame(1), never);
    const [taken] = await takeSome(queue, 1, { keep: true });
    proxy.refuse();
    taken?.done();
    const before = proxy.bytes.toTarget;
    proxy.heal();
    await waitFor(() => proxy.bytes.toTarget > before, { what: 'the link to be back' });
    await waitFor(() => isEmpty(redis.url), { what: 'the room to be free' });
    await queue.close();
  });

  it.each(['toTarget', 'toClient'] as const)(
    'after a link that is half-open (%s): it is given up, not waited for',
    async (direction) => {
      await using redis = await freshRedis();
      await using proxy = await tcpProxy({ port: redis.port });
      const lost: string[] = [];
      const queue = await openQueue(`redis://127.0.0.1:${proxy.port}`, 1 << 20, ({ code }) => lost.push(code));
      const consumer = consume(queue);
      await queue.publish(frame(1), never);
      await waitFor(() => consumer.seen.length === 1, { what: 'the first frame' });
      const before = proxy.connections;
      proxy.swallow(direction);
      const second = queue.publish(frame(2), never);
      // The consumer's link and the publisher's.
      await waitFor(() => proxy.connections >= before + 2, { what: 'both links to be replaced' });
      proxy.heal();
      proxy.cut();
      await second;
      await waitFor(() => consumer.seen.includes(2), { what: 'the second frame' });
      expect(lost).toContain('QUEUE_UNAVAILABLE');
      await consumer.stop();
      await queue.close();
    },
  );

  it('while Redis is away nothing hangs: publishers can give up, clearing returns, taking and closing end', async () => {
    await using redis = await freshRedis();
    const queue = await openQueue(redis.url, 10);
    await queue.publish(frame(1), never);
    const consumer = consume(queue);
    await waitFor(() => isEmpty(redis.url), { what: 'the first frame to be done' });
    await redis.kill();
    const giveUp = new AbortController();
    const first = queue.publish(frame(2), giveUp.signal);
    const second = queue.publish(frame(3), giveUp.signal);
    giveUp.abort(new Error('given up'));
    await Promise.allSettled([first]);
    await expect(second).rejects.toThrow('given up');
    const third = queue.publish(frame(4), never);
    await queue.clear(project);
    await third;
    expect(await queue.isEmpty(project, 1)).toBe(undefined);
    await consumer.stop();
    await queue.close();
    await expect(queue.publish(frame(5), never)).rejects.toMatchObject({ code: 'QUEUE_UNAVAILABLE' });
  });
});

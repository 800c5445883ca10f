import type { BucketId, Epoch, LookupId, Lsn, ProjectId, StreamNo } from '@sluice/domain';
import type { AppError } from '@sluice/errors';
import { systemClock } from '@sluice/telemetry';
import { type FreshRedis, freshRedis, tcpProxy, waitFor } from '@sluice/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { WakeUp } from '../port.ts';
import { describeWakeUps } from '../testing/conformance.ts';
import { withClient } from './queue.fixture.ts';
import { createRedisWakeUps, type RedisWakeUps } from './redis-wake-ups.ts';

const project = 7 as ProjectId;
let redis: FreshRedis;
beforeAll(async () => {
  redis = await freshRedis();
});
afterAll(async () => await redis[Symbol.asyncDispose]());

const connect = (url = redis.url, onTrouble: (error: AppError) => void = () => {}): Promise<RedisWakeUps> =>
  createRedisWakeUps({ url, clock: systemClock, onTrouble, answerTimeoutMs: 400 });

describeWakeUps('Redis, heard by the process that publishes', async () => {
  const wakeUps = await connect();
  return { wakeUps, settled: () => wakeUps.settled(), close: () => wakeUps.close() };
});

describeWakeUps('Redis, from one process to another', async () => {
  const [from, to] = [await connect(), await connect()];
  return {
    wakeUps: { publish: (wakeUp) => from.publish(wakeUp), subscribe: (of, listener) => to.subscribe(of, listener) },
    settled: () => to.settled(),
    async close() {
      await from.close();
      await to.close();
    },
  };
});

/** Two processes, the second with a listener; both closed at the end. */
async function pair(
  run: (ends: { from: RedisWakeUps; to: RedisWakeUps; heard: WakeUp[] }) => Promise<void>,
  urls: { from?: string; to?: string } = {},
): Promise<void> {
  const [from, to] = [await connect(urls.from), await connect(urls.to)];
  const heard: WakeUp[] = [];
  to.subscribe(project, (wakeUp) => heard.push(wakeUp));
  await to.settled();
  try {
    await run({ from, to, heard });
  } finally {
    await from.close();
    await to.close();
  }
}

describe('wake-ups over Redis', () => {
  it('a long list of names arrives whole, and one that is too long becomes "look at everything"', () =>
    pair(async ({ from, heard }) => {
      const buckets = Array.from({ length: 10_000 }, (_, i) => i.toString(16).padStart(32, '0') as BucketId);
      const news = {
        kind: 'checkpoint',
        project,
        checkpoint: { epoch: 1 as Epoch, lsn: 9n as Lsn, committedAtMs: 1 },
        previousLsn: 8n as Lsn,
        shards: 1,
        inUse: undefined,
        buckets,
        lookups: buckets.map((id) => id as string as LookupId),
        truncated: [3 as StreamNo],
      } as const;
      from.publish(news);
      from.publish({ ...news, buckets: Array.from({ length: 50_000 }, () => buckets[0] as BucketId) });
      await waitFor(() => heard.length === 2, { what: 'both wake-ups' });
      expect(heard).toEqual([news, { kind: 'streams', project }]);
    }));

  it('a listener that ended its subscription keeps the other one on the same channel alive', () =>
    pair(async ({ from, to, heard }) => {
      const stop = to.subscribe(project, () => {});
      stop();
      stop();
      await to.settled();
      from.publish({ kind: 'streams', project });
      await waitFor(() => heard.length === 1, { what: 'the wake-up' });
    }));

  it('publishing neither throws nor waits while Redis is gone; listeners of this process hear it, and after its return others do', async () => {
    await using own = await freshRedis();
    await pair(
      async ({ from, heard }) => {
        const local: WakeUp[] = [];
        from.subscribe('all', (wakeUp) => local.push(wakeUp));
        await own.kill();
        for (let i = 0; i < 5_000; i++) from.publish({ kind: 'streams', project });
        await waitFor(() => local.length === 5_000, { what: 'the local listener' });
        await own.restart();
        await waitFor(
          () => {
            from.publish({ kind: 'project', project });
            return heard.some(({ kind }) => kind === 'project');
          },
          { what: 'a wake-up after the restart' },
        );
      },
      { from: own.url, to: own.url },
    );
  });

  it('a half-open link of a process that only listens is noticed and replaced', async () => {
    await using proxy = await tcpProxy({ port: redis.port });
    await pair(
      async ({ from, heard }) => {
        const before = proxy.connections;
        proxy.swallow('toClient');
        await waitFor(() => proxy.connections > before, { what: 'another link to be tried' });
        proxy.heal();
        proxy.cut();
        await waitFor(
          () => {
            from.publish({ kind: 'project', project });
            return heard.length > 0;
          },
          { what: 'a wake-up on the new link' },
        );
      },
      { to: `redis://127.0.0.1:${proxy.port}` },
    );
  });

  it('bytes of others on the channel, or of another project, are no wake-up', () =>
    pair(async ({ from, heard }) => {
      const rubbish = [
        new Uint8Array(3),
        new Uint8Array(40).fill(255),
        new Uint8Array([0, 0, 0, 0, 0, 0, 0, 0, 1, 5, 8]), // One of project 8.
      ];
      await withClient(redis.url, async (client) => {
        for (const bytes of rubbish) expect(await client.publish('sluice:{7}:wake-ups', Buffer.from(bytes))).toBe(1);
      });
      from.publish({ kind: 'project', project });
      await waitFor(() => heard.length > 0, { what: 'the true wake-up' });
      expect(heard).toEqual([{ kind: 'project', project }]);
    }));
});

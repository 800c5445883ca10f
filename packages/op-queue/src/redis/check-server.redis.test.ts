import { freePort } from '@sluice/embedded-postgres';
import { systemClock } from '@sluice/telemetry';
import { freshRedis } from '@sluice/testkit';
import { describe, expect, it } from 'vitest';
import { openQueue } from './queue.fixture.ts';
import { createRedisOpQueue } from './redis-op-queue.ts';
import { createRedisWakeUps } from './redis-wake-ups.ts';

describe('a Redis that cannot carry the queue is refused with a remedy', () => {
  it('L17: one that may evict', async () => {
    await using redis = await freshRedis(['--maxmemory', '50mb', '--maxmemory-policy', 'allkeys-lru']);
    await expect(openQueue(redis.url)).rejects.toMatchObject({
      code: 'QUEUE_EVICTING',
      remedy: expect.stringContaining('noeviction (it is allkeys-lru)'),
    });
    await expect(createRedisWakeUps({ url: redis.url, clock: systemClock, onTrouble: () => {} })).rejects.toMatchObject(
      { code: 'QUEUE_EVICTING' },
    );
  });

  it('but not one that has a policy and no limit, nor one with a limit and noeviction', async () => {
    for (const args of [
      ['--maxmemory-policy', 'allkeys-lru'],
      ['--maxmemory', '50mb'],
    ]) {
      await using redis = await freshRedis(args);
      await (await openQueue(redis.url)).close();
    }
  });

  it('a cluster', async () => {
    await using redis = await freshRedis(['--cluster-enabled', 'yes']);
    await expect(openQueue(redis.url)).rejects.toMatchObject({
      code: 'QUEUE_SERVER_UNSUPPORTED',
      remedy: expect.stringContaining('cluster mode'),
    });
  });

  it('one that is not there, within the time that a start may take', async () => {
    const url = `redis://127.0.0.1:${await freePort()}`;
    await expect(
      createRedisOpQueue({ url, bytesMaxPerShard: 1, clock: systemClock, onTrouble: () => {}, startTimeoutMs: 300 }),
    ).rejects.toMatchObject({ code: 'QUEUE_UNAVAILABLE' });
  });

  it('one that does not accept the password, or a URL that is none; neither error shows the password', async () => {
    await using redis = await freshRedis(['--requirepass', 'right']);
    const open = (url: string): Promise<unknown> =>
      createRedisOpQueue({
        url,
        bytesMaxPerShard: 1,
        clock: systemClock,
        onTrouble: () => {},
        startTimeoutMs: 500,
      }).catch((error: unknown) => error);
    for (const url of [`redis://:hunter2secret@127.0.0.1:${redis.port}`, 'redis://:hunter2secret@[nowhere']) {
      const error = await open(url);
      expect(error).toMatchObject({ code: 'QUEUE_UNAVAILABLE' });
      expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain('hunter2secret');
    }
    const accepted = await openQueue(`redis://:right@127.0.0.1:${redis.port}`);
    await accepted.close();
  });
});

import { systemClock } from '@sluice/telemetry';
import { type FreshRedis, freshRedis } from '@sluice/testkit';
import { afterAll, beforeAll } from 'vitest';
import { describeOpQueue } from '../testing/conformance.ts';
import { createRedisOpQueue } from './redis-op-queue.ts';

let redis: FreshRedis;
let database = 0;
beforeAll(async () => {
  redis = await freshRedis();
});
afterAll(async () => await redis[Symbol.asyncDispose]());

describeOpQueue('Redis', async (bytesMaxPerShard) => {
  const queue = await createRedisOpQueue({
    url: `${redis.url}/${database++}`,
    bytesMaxPerShard,
    clock: systemClock,
    onTrouble: () => {},
  });
  return { queue, close: () => queue.close() };
});

import { waitFor } from '@sluice/testkit';
import type { MakeFault } from './fault.ts';

/** Everything in Redis is gone while frames wait there. */
export const redisFlushed: MakeFault = (scene) => {
  const { redis } = scene.platform;
  let lost = 0;
  return {
    async begin() {
      lost = await scene.whileHeld(() => redis.command('FLUSHALL'));
    },
    end: async () => {},
    effect: async () => (lost > 0 ? `${lost} frames were flushed` : undefined),
  };
};

/** Redis crashes while frames wait there, and comes back empty. */
export const redisKilled: MakeFault = (scene) => {
  const { redis } = scene.platform;
  let lost = 0;
  return {
    async begin() {
      lost = await scene.whileHeld(() => redis.kill());
    },
    end: () => redis.restart(),
    effect: async () => (lost > 0 ? `Redis died with ${lost} frames` : undefined),
  };
};

/** Redis takes no write for lack of memory. */
export const redisFull: MakeFault = (scene) => {
  const { redis } = scene.platform;
  let refusedBefore = 0;
  const refused = async (): Promise<number> => {
    const info = String(await redis.command('INFO', 'errorstats'));
    return Number(/^errorstat_OOM:count=(\d+)/m.exec(info)?.[1] ?? 0);
  };
  return {
    async begin() {
      refusedBefore = await refused();
      await redis.command('CONFIG', 'SET', 'maxmemory', '1mb');
      await scene.commit();
      await waitFor(async () => (await refused()) > refusedBefore, { what: 'Redis to refuse a write' });
    },
    async end() {
      await redis.command('CONFIG', 'SET', 'maxmemory', '0');
    },
    async effect() {
      const count = (await refused()) - refusedBefore;
      return count > 0 ? `Redis refused ${count} writes` : undefined;
    },
  };
};

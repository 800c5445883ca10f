import { query, waitFor } from '@sluice/testkit';
import type { ServiceProcess } from '../../processes/service-process.ts';
import { LEASE_TTL_MS } from '../fault-stage.ts';
import type { Holder, Scene } from '../scene.ts';
import type { MakeFault } from './fault.ts';

/** A holder renews every third of the lease's life and believes in it for five sixths, so it does for at least half of it. */
const BELIEVED_FOR_MS = LEASE_TTL_MS / 2;

/**
 * Two hold one lease: while the holder is stopped for a moment, its row is made to look expired and others are told that it
 * is gone, so that one of them takes it; the first goes on and still believes in its lease.
 */
export function twoHolders(name: Holder): MakeFault {
  return (scene) => {
    const shard = scene.anyShard();
    let victim: ServiceProcess | undefined;
    let other = '';
    let stoppedMs = Number.POSITIVE_INFINITY;
    return {
      async begin() {
        const first = await scene.holder(name, shard);
        victim = first;
        const before = await scene.leaseToken(name);
        const beganMs = performance.now();
        first.signal('SIGSTOP');
        try {
          await expire(scene, name, first.workerId ?? '');
          await sayGone(scene, name, first.workerId ?? '');
          await waitFor(async () => (await scene.leaseToken(name)) > before, {
            what: `another ${name} to take the lease`,
            timeoutMs: LEASE_TTL_MS,
            intervalMs: 5,
          }).catch(() => {});
        } finally {
          first.signal('SIGCONT');
        }
        stoppedMs = performance.now() - beganMs;
        const holder = await scene.holder(name, shard);
        if (holder !== first) other = holder.label;
        // Now both write.
        await scene.commitSome(2, 4);
      },
      end: async () => {},
      async effect() {
        if (other === '' || stoppedMs > BELIEVED_FOR_MS || !victim?.isRunning) return undefined;
        return `${victim.label} believed in a lease that ${other} had taken ${Math.round(stoppedMs)} ms after`;
      },
    };
  };
}

async function expire({ platform, customer }: Scene, name: Holder, holder: string): Promise<void> {
  const sql =
    name === 'replicator'
      ? `update sluice_store.project set lease_expires_at = clock_timestamp() - interval '1 second'
         where project = $1 and lease_holder = $2`
      : `update sluice_store.shard_lease set expires_at = clock_timestamp() - interval '1 second'
         where project = $1 and holder = $2`;
  await query(platform.storeUrl, sql, [customer.project, holder]);
}

/** Removes it from the list of the living, and tells them to look. */
async function sayGone({ platform: { redis } }: Scene, name: Holder, member: string): Promise<void> {
  await redis.command('ZREM', `{sluice:members:${name}}:deadlines`, member);
  await redis.command('HDEL', `{sluice:members:${name}}:said`, member);
  await redis.command('PUBLISH', `sluice:members:${name}`, member);
}

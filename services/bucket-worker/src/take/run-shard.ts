import type { OpQueue } from '@sluice/op-queue';
import { ShardApplier, type ShardApplierOptions } from '../apply/shard-applier.ts';

/**
 * Takes a shard's frames until the signal is aborted: while one commits, the next is evaluated. Resolves when the last
 * commit has settled; rejects when the project must stop.
 */
export async function runShard(
  options: ShardApplierOptions & { readonly queue: OpQueue },
  signal: AbortSignal,
): Promise<void> {
  const applier = new ShardApplier(options);
  let committing: Promise<void> = Promise.resolve();
  try {
    for await (const taken of options.queue.take(options.project, options.shard, signal)) {
      const prepared = await applier.prepare(taken.frame, signal);
      await committing;
      committing = applier.commit(prepared, signal).finally(() => taken.done());
      // Awaited with the next frame, or below: until then a failure is not unhandled.
      committing.catch(() => {});
    }
  } finally {
    applier.close();
    await committing;
  }
}

import type { BucketStore } from '@sluice/bucket-store';
import { type Clock, delay, type ProjectId } from '@sluice/domain';
import type { WakeUps } from '@sluice/op-queue';

export interface RunShardsOptions {
  readonly project: ProjectId;
  readonly store: Pick<BucketStore, 'readSource'>;
  readonly wakeUps: WakeUps;
  readonly clock: Clock;
  /** Works on one shard until aborted. */
  readonly run: (shard: number, signal: AbortSignal) => Promise<void>;
}

/** A lost wake-up of a changed number of shards costs this long. */
const lookAgainMs = 2_000;

/** A shard that is being worked on. */
interface RunningShard {
  readonly stop: AbortController;
  readonly ended: Promise<void>;
}

/**
 * Works on as many shards as the project has, also when their number changes, until aborted. The first one is worked on before
 * the project has any. @throws the first failure of a shard, when all have ended
 */
export async function runShards(options: RunShardsOptions, signal: AbortSignal): Promise<void> {
  const failed = new AbortController();
  const ended = AbortSignal.any([signal, failed.signal]);
  const running = new Map<number, RunningShard>();
  let failure: { readonly error: unknown } | undefined;

  function start(shard: number): void {
    const stop = new AbortController();
    const run = options.run(shard, AbortSignal.any([ended, stop.signal])).catch((error: unknown) => {
      failure ??= { error };
      failed.abort();
    });
    running.set(shard, { stop, ended: run });
  }
  async function end(shard: number): Promise<void> {
    const last = running.get(shard);
    last?.stop.abort();
    await last?.ended;
    running.delete(shard);
  }

  for await (const count of shardCounts(options, ended)) {
    for (const shard of [...running.keys()]) if (shard >= count) await end(shard);
    for (let shard = 0; shard < count; shard++) if (!running.has(shard)) start(shard);
  }
  await Promise.all([...running.values()].map((shard) => shard.ended));
  if (failure) throw failure.error;
}

/** How many shards the project's epochs have at most, at least 1; again whenever that may have changed. */
async function* shardCounts(options: RunShardsOptions, signal: AbortSignal): AsyncGenerator<number> {
  const { project, store, wakeUps, clock } = options;
  let news = new AbortController();
  const unsubscribe = wakeUps.subscribe(project, ({ kind }) => {
    if (kind === 'streams') news.abort();
  });
  try {
    for (let count = 1; !signal.aborted; ) {
      news = new AbortController();
      yield count;
      // A store that does not answer is asked again; the shards that are known go on meanwhile.
      const source = await store.readSource(project).catch(() => undefined);
      const known = [source?.serving, source?.building].map((epoch) => epoch?.shards.length ?? 0);
      const next = source ? Math.max(1, ...known) : count;
      if (next === count) await delay(clock, lookAgainMs, AbortSignal.any([signal, news.signal]));
      count = next;
    }
  } finally {
    unsubscribe();
  }
}

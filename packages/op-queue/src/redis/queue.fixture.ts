import type { Epoch, LeaseToken, Lsn, ProjectId } from '@sluice/domain';
import type { AppError } from '@sluice/errors';
import { systemClock } from '@sluice/telemetry';
import { Redis } from 'ioredis';
import type { StreamFrame } from '../frame.ts';
import type { OpQueue, TakenFrame } from '../port.ts';
import { createRedisOpQueue, type RedisOpQueue } from './redis-op-queue.ts';

export const project = 7 as ProjectId;
export const never: AbortSignal = new AbortController().signal;
/** Soon enough for a test of half-open links, late enough for two busy cores. Milliseconds. */
export const ANSWER_TIMEOUT_MS = 500;

/** The frame that begins where number `n - 1` ends. */
export function frame(n: number, changes = 10, shard = 0): StreamFrame {
  return {
    kind: 'stream',
    project,
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
export const numberOf = ({ frame: { kind, ...rest } }: TakenFrame): number =>
  kind === 'stream' && 'prev' in rest ? Number(rest.prev.lsn) : -1;

export function openQueue(
  url: string,
  bytesMaxPerShard = 1 << 20,
  onTrouble: (error: AppError) => void = () => {},
): Promise<RedisOpQueue> {
  return createRedisOpQueue({
    url,
    bytesMaxPerShard,
    clock: systemClock,
    onTrouble,
    answerTimeoutMs: ANSWER_TIMEOUT_MS,
  });
}

/** Takes that many frames and stops; they are done at once unless `keep`. */
export async function takeSome(
  queue: OpQueue,
  count: number,
  options: { keep?: boolean; shard?: number } = {},
): Promise<TakenFrame[]> {
  const seen: TakenFrame[] = [];
  if (count === 0) return seen;
  for await (const taken of queue.take(project, options.shard ?? 0, never)) {
    seen.push(taken);
    if (!options.keep) taken.done();
    if (seen.length === count) break;
  }
  return seen;
}

/** A client of the test's own, to look into Redis and to harm it. */
export async function withClient<T>(url: string, run: (client: Redis) => Promise<T>): Promise<T> {
  const client = new Redis(url, { protocol: 2 });
  try {
    return await run(client);
  } finally {
    client.disconnect();
  }
}

/** Whether nothing is queued and no room is held. */
export function isEmpty(url: string): Promise<boolean> {
  return withClient(
    url,
    async (client) =>
      (await client.xlen('sluice:{7:0}:frames')) === 0 && Number((await client.get('sluice:{7:0}:bytes')) ?? 0) === 0,
  );
}

import { type Clock, delay } from '@sluice/domain';
import { Redis } from 'ioredis';
import type { Member, Membership } from './port.ts';

export interface RedisMembershipOptions {
  readonly url: string;
  /** The kind of process, e.g. `replicator`; letters and hyphens. */
  readonly group: string;
  /** Names this process among all of its kind that ever were. */
  readonly id: string;
  /** A member that has not beaten for this long counts as dead, milliseconds. */
  readonly ttlMs: number;
  readonly clock: Clock;
  readonly onError: (error: unknown) => void;
}

/** An answer that takes longer is none. */
const ANSWER_WITHIN_MS = 2_000;
/** What others say of themselves is read anew when they announce it, but no more often than this. */
const CHANGE_PAUSE_MS = 20;

/**
 * One script a beat, so that members are counted by Redis's own clock. KEYS: deadlines by member (sorted set), what each
 * said (hash). ARGV: id, time to live in ms, what this one says, channel.
 */
const BEAT_LUA = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, dead in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now)) do
  redis.call('ZREM', KEYS[1], dead)
  redis.call('HDEL', KEYS[2], dead)
end
local before = redis.call('HGET', KEYS[2], ARGV[1])
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
if before ~= ARGV[3] then redis.call('PUBLISH', ARGV[4], ARGV[1]) end
return redis.call('HGETALL', KEYS[2])`;

const LEAVE_LUA = `
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('PUBLISH', ARGV[2], ARGV[1])`;

/** Membership in Redis. Its keys share one hash tag, so that they live on one node of a Redis Cluster. */
export function createRedisMembership(options: RedisMembershipOptions): Membership {
  const { group, id, ttlMs, clock } = options;
  const keys = [`{sluice:members:${group}}:deadlines`, `{sluice:members:${group}}:said`] as const;
  const channel = `sluice:members:${group}`;
  const settings = { lazyConnect: true } as const;
  // A beat that could not be sent is not sent later: the next one says what is true then.
  const commands = new Redis(options.url, { ...settings, maxRetriesPerRequest: 1 });
  // Subscribed below, with each connection: nobody would hear that the driver's own attempt was rejected, and that ends a process.
  const subscriber = new Redis(options.url, { ...settings, maxRetriesPerRequest: 0, autoResubscribe: false });
  const listeners = new Set<() => void>();
  subscriber.on('ready', () => void subscriber.subscribe(channel).catch(options.onError));
  for (const connection of [commands, subscriber]) {
    connection.on('error', options.onError);
    // A failure to connect is an error event as well, and the next try comes by itself.
    connection.connect().catch(() => {});
  }
  let isTelling = false;
  subscriber.on('message', (_, from) => {
    if (from === id || isTelling) return;
    isTelling = true;
    clock.setTimer(CHANGE_PAUSE_MS, () => {
      isTelling = false;
      for (const listener of listeners) listener();
    });
  });

  async function ask(script: string, ...args: readonly (string | number)[]): Promise<unknown> {
    const answered = new AbortController();
    const late = delay(clock, ANSWER_WITHIN_MS, answered.signal).then(() => {
      throw new Error('Redis does not answer');
    });
    // It is rejected when nobody listens any more as well.
    late.catch(() => {});
    try {
      return await Promise.race([commands.eval(script, 2, ...keys, ...args), late]);
    } finally {
      answered.abort();
    }
  }

  return {
    id,
    async beat({ isLeaving, held }) {
      const said = JSON.stringify({ isLeaving, held });
      return membersFrom(await ask(BEAT_LUA, id, ttlMs, said, channel));
    },
    onChange(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    async close() {
      await ask(LEAVE_LUA, id, channel).catch(() => {});
      commands.disconnect();
      subscriber.disconnect();
    },
  };
}

/** @param answer HGETALL's: names and values in turn */
function membersFrom(answer: unknown): Member[] {
  const texts = Array.isArray(answer) ? answer.map(String) : [];
  const members: Member[] = [];
  for (let i = 0; i + 1 < texts.length; i += 2) members.push(memberFrom(texts[i] ?? '', texts[i + 1] ?? ''));
  return members.toSorted((a, b) => (a.id < b.id ? -1 : 1));
}

/** What cannot be read counts as a member that holds nothing: a newer edition may say more than this one knows. */
function memberFrom(id: string, said: string): Member {
  let parsed: unknown;
  try {
    parsed = JSON.parse(said);
  } catch {
    parsed = undefined;
  }
  const { isLeaving, held } = (typeof parsed === 'object' && parsed !== null ? parsed : {}) as Record<string, unknown>;
  const items = Array.isArray(held) ? held.filter((item) => typeof item === 'string') : [];
  return { id, isLeaving: isLeaving === true, held: items };
}

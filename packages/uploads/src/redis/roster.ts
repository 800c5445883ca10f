import { defineScript, type RedisLink } from '@sluice/redis-link';

/** Writers, and until when each counts as alive by the clock of Redis. One that is leaving stands there behind a hyphen. */
const WRITERS = 'sluice:{uploads}:writers';
/** A writer that has not beaten for this long is not asked, milliseconds. */
const TTL_MS = 3_000;
export const BEAT_EVERY_MS = 1_000;

/** Where a writer hears what it is asked, and a gateway what it is answered. */
export const inboxChannel = (writer: string): string => `sluice:{uploads}:to:${writer}`;
export const answersChannel = (gateway: string): string => `sluice:{uploads}:from:${gateway}`;

const BEAT = defineScript(`
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZREM', KEYS[1], ARGV[3])
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])`);

const LIST = defineScript(`
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
return redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf')`);

export interface Roster {
  /** Who may be asked. */
  readonly taking: readonly string[];
  /** Who answers what it was asked: those, and the ones that are leaving. */
  readonly alive: ReadonlySet<string>;
}

/** Says that the writer is alive and hears; one that is leaving answers what it took. */
export async function beat(link: RedisLink, writer: string, isLeaving: boolean): Promise<void> {
  const names = [writer, `-${writer}`];
  const [now, before] = isLeaving ? names.reverse() : names;
  await link.run(BEAT, [WRITERS], [now ?? '', TTL_MS, before ?? '']);
}
export async function leave(link: RedisLink, writer: string): Promise<void> {
  await link.call('ZREM', [WRITERS, writer, `-${writer}`]);
}
export async function readRoster(link: RedisLink): Promise<Roster> {
  const found = await link.run(LIST, [WRITERS], []);
  const names = Array.isArray(found) ? found.map(String) : [];
  return {
    taking: names.filter((name) => !name.startsWith('-')),
    alive: new Set(names.map((name) => (name.startsWith('-') ? name.slice(1) : name))),
  };
}

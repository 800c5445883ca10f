import type { Clock, ProjectId } from '@sluice/domain';
import { AppError } from '@sluice/errors';
import { checkServer, RedisLink, Troubles } from '@sluice/redis-link';
import type { Frame } from '../frame.ts';
import { decodeFrame } from '../frame-codec.ts';
import type { OpQueue, TakenFrame } from '../port.ts';
import { shardKeys, shardsKey } from './keys.ts';
import { recover } from './retry.ts';
import { ShardPublisher } from './shard-publisher.ts';
import { type Entry, ShardReader } from './shard-reader.ts';
import { ShardRemovals } from './shard-removals.ts';
import { ShardRoom } from './shard-room.ts';

export interface RedisOpQueueOptions {
  /** `redis:` or `rediss:`, with user and password if the server asks for them; never logged. */
  readonly url: string;
  /** Bytes of `changes` per (project, shard) that are queued or taken and not yet done. */
  readonly bytesMaxPerShard: number;
  readonly clock: Clock;
  /** Something is wrong that heals by itself: told once, and again only after it was well in between. */
  readonly onTrouble: (error: AppError) => void;
  /** How long a start waits for Redis, milliseconds. */
  readonly startTimeoutMs?: number;
  /** A link on which a command got no answer for so long is made anew; how soon a half-open one is noticed. Milliseconds. */
  readonly answerTimeoutMs?: number;
}

export interface RedisOpQueue extends OpQueue {
  /** Removes what is done, ends every `take` and rejects publishers that wait. Frames stay in Redis. */
  close(): Promise<void>;
}

const START_TIMEOUT_MS = 10_000;
const ANSWER_TIMEOUT_MS = 5_000;
/** How long closing waits for Redis. */
const CLOSE_TIMEOUT_MS = 1_000;
/** How often the shards of a project are written down again: Redis may have forgotten. */
const ANNOUNCE_MS = 60_000;
const ANNOUNCED_FOR_MS = 24 * 60 * 60 * 1000;

/**
 * The op queue on Redis Streams, a stream for each (project, shard). Everything in it may be lost, repeated or reordered at
 * any moment, by a crash, FLUSHALL or a cut link; it goes on by itself when Redis is back, and the store finds what is
 * missing (L3). A frame that was let in is kept here until Redis took it. A full Redis is a full queue: publishers wait.
 *
 * Each `take` has a connection of its own, because it waits in Redis; everything else shares one.
 *
 * @throws AppError QUEUE_UNAVAILABLE, QUEUE_EVICTING, QUEUE_SERVER_UNSUPPORTED
 */
export async function createRedisOpQueue(options: RedisOpQueueOptions): Promise<RedisOpQueue> {
  const queue = new StreamsOpQueue(options);
  try {
    await queue.start();
  } catch (error) {
    await queue.close();
    throw error;
  }
  return queue;
}

/** What this process knows of one (project, shard). */
interface Shard {
  readonly project: ProjectId;
  readonly number: number;
  readonly publisher: ShardPublisher;
  readonly removals: ShardRemovals;
  /** Raised when a clear begins and when it is done: what was read before is not given out after. */
  generation: number;
}

class StreamsOpQueue implements RedisOpQueue {
  private readonly options: RedisOpQueueOptions;
  private readonly troubles: Troubles;
  private readonly link: RedisLink;
  private readonly shards = new Map<string, Shard>();
  private readonly closing = new AbortController();
  /** When this process last wrote down a shard, by its key; monotonic milliseconds. */
  private readonly announcedMs = new Map<string, number>();

  constructor(options: RedisOpQueueOptions) {
    this.options = options;
    this.troubles = new Troubles(options.onTrouble);
    this.link = this.newLink('sluice-queue');
  }

  async start(): Promise<void> {
    await checkServer(this.link, this.options.clock, this.options.startTimeoutMs ?? START_TIMEOUT_MS);
  }

  async publish(frame: Frame, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    this.closing.signal.throwIfAborted();
    await this.shard(frame.project, frame.shard).publisher.publish(frame, signal);
  }

  async *take(project: ProjectId, number: number, signal: AbortSignal): AsyncGenerator<TakenFrame> {
    const shard = this.shard(project, number);
    const keys = shardKeys(project, number);
    const ended = AbortSignal.any([signal, this.closing.signal]);
    const name = `sluice-take-${project}-${number}`;
    const link = this.newLink(name);
    const reader = new ShardReader(link, keys, Math.floor(this.answerTimeoutMs / 2));
    const end = (): void => link.close();
    ended.addEventListener('abort', end);
    const given = new Set<string>();
    let failures = 0;
    try {
      await link.ready(ended);
      while (!ended.aborted) {
        const { generation } = shard;
        try {
          for (const entry of await reader.next()) {
            if (ended.aborted) break;
            if (generation !== shard.generation) {
              // Some of these may have been added after the clear; Redis knows.
              reader.rewind();
              break;
            }
            const frame = shard.removals.held.has(entry.id) ? undefined : this.frameOf(entry, shard);
            if (frame) yield this.taken(frame, entry, shard, given);
          }
          failures = 0;
        } catch (error) {
          if (!ended.aborted)
            await recover(error, { link, keys, clock: this.options.clock, failures: ++failures }, ended);
        }
      }
    } finally {
      ended.removeEventListener('abort', end);
      link.close();
      this.troubles.end(name);
      // Who took these has stopped and may never say that they are done: the next one gets them.
      if (ended.aborted) for (const id of given) shard.removals.held.delete(id);
    }
  }

  async clear(project: ProjectId): Promise<void> {
    await this.learnShards(project);
    const shards = [...this.shards.values()].filter((shard) => shard.project === project);
    for (const shard of shards) shard.generation++;
    await Promise.all(shards.map(({ publisher }) => publisher.clear()));
  }

  async isEmpty(project: ProjectId, number: number): Promise<boolean | undefined> {
    const { publisher } = this.shard(project, number);
    if (!publisher.isIdle) return false;
    try {
      return (await this.link.call('XLEN', [shardKeys(project, number).frames])) === 0;
    } catch {
      return undefined;
    }
  }

  async close(): Promise<void> {
    const { clock } = this.options;
    const removals = Promise.all([...this.shards.values()].map((shard) => shard.removals.settled()));
    const timeout = new Promise<void>((resolve) => {
      const cancel = clock.setTimer(CLOSE_TIMEOUT_MS, resolve);
      void removals.then(cancel);
    });
    if (this.link.isReady) await Promise.race([removals, timeout]);
    this.closing.abort(new AppError('QUEUE_UNAVAILABLE', { internal: 'the op queue was closed' }));
    this.link.close();
  }

  private get answerTimeoutMs(): number {
    return this.options.answerTimeoutMs ?? ANSWER_TIMEOUT_MS;
  }

  private newLink(name: string): RedisLink {
    const { answerTimeoutMs, troubles } = this;
    return new RedisLink({
      url: this.options.url,
      name,
      answerTimeoutMs,
      onLost: (error) => troubles.begin(name, error),
      onReady: () => troubles.end(name),
    });
  }

  private shard(project: ProjectId, number: number): Shard {
    const keys = shardKeys(project, number);
    const known = this.shards.get(keys.frames);
    if (known) return known;
    const { link, troubles } = this;
    const { clock, bytesMaxPerShard } = this.options;
    const room = new ShardRoom(bytesMaxPerShard);
    const closed = this.closing.signal;
    const announce = (): Promise<void> => this.announce(project, number);
    const cleared = (): void => {
      shard.generation++;
    };
    const shard: Shard = {
      project,
      number,
      publisher: new ShardPublisher({ link, keys, room, clock, troubles, announce, cleared, closed }),
      removals: new ShardRemovals({ link, keys, room, clock, closed }),
      generation: 0,
    };
    this.shards.set(keys.frames, shard);
    return shard;
  }

  /** Writes down that the shard exists, so that another process can clear it. */
  private async announce(project: ProjectId, number: number): Promise<void> {
    const { frames } = shardKeys(project, number);
    const nowMs = this.options.clock.monotonicMs();
    if (nowMs - (this.announcedMs.get(frames) ?? Number.NEGATIVE_INFINITY) < ANNOUNCE_MS) return;
    await this.link.call('SADD', [shardsKey(project), number]);
    await this.link.call('PEXPIRE', [shardsKey(project), ANNOUNCED_FOR_MS]);
    this.announcedMs.set(frames, nowMs);
  }

  private async learnShards(project: ProjectId): Promise<void> {
    try {
      const numbers = await this.link.call('SMEMBERS', [shardsKey(project)]);
      for (const number of (Array.isArray(numbers) ? numbers : []).map((value) => Number(String(value))))
        if (Number.isSafeInteger(number) && number >= 0) this.shard(project, number);
    } catch {
      // Frames of shards that are not known here stay; the store refuses or skips them.
    }
  }

  private taken(frame: Frame, entry: Entry, shard: Shard, given: Set<string>): TakenFrame {
    shard.removals.held.add(entry.id);
    given.add(entry.id);
    let isDone = false;
    return {
      frame,
      done: () => {
        if (isDone) return;
        isDone = true;
        given.delete(entry.id);
        shard.removals.add(entry.id, entry.bytes);
      },
    };
  }

  /** Undefined, and removed, when it is no frame of this shard. */
  private frameOf(entry: Entry, shard: Shard): Frame | undefined {
    const frame = entry.encoded && decodedFrame(entry.encoded);
    const who = `frame ${shard.project} ${shard.number}`;
    if (frame && frame.project === shard.project && frame.shard === shard.number) {
      this.troubles.end(who);
      return frame;
    }
    shard.removals.add(entry.id, entry.bytes);
    if (entry.encoded) this.troubles.begin(who, new AppError('QUEUE_FRAME_MALFORMED'));
    return undefined;
  }
}

function decodedFrame(encoded: Uint8Array): Frame | undefined {
  try {
    return decodeFrame(encoded);
  } catch {
    return undefined;
  }
}

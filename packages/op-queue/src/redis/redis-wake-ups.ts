import { randomBytes } from 'node:crypto';
import { ByteReader, ByteWriter, type Clock, MalformedBytesError, type ProjectId } from '@sluice/domain';
import type { AppError } from '@sluice/errors';
import { checkServer, RedisLink, Troubles } from '@sluice/redis-link';
import { createMemoryWakeUps } from '../memory-wake-ups.ts';
import type { WakeUp, WakeUps } from '../port.ts';
import { ALL_WAKE_UP_CHANNELS, wakeUpChannel } from './keys.ts';
import { readWakeUp, writeWakeUp } from './wake-up-codec.ts';

export interface RedisWakeUpsOptions {
  /** As for the op queue. */
  readonly url: string;
  readonly clock: Clock;
  /** Something is wrong that heals by itself: told once, and again only after it was well in between. */
  readonly onTrouble: (error: AppError) => void;
  /** How long a start waits for Redis, milliseconds. */
  readonly startTimeoutMs?: number;
  /** How soon a half-open link is noticed, milliseconds. */
  readonly answerTimeoutMs?: number;
}

export interface RedisWakeUps extends WakeUps {
  /** Resolves when the subscriptions made so far are in force: what others publish from now on arrives. Needs Redis. */
  settled(): Promise<void>;
  close(): Promise<void>;
}

const START_TIMEOUT_MS = 10_000;
const ANSWER_TIMEOUT_MS = 5_000;
/** A longer list of names is told as "look at everything". Two lists of 10,000 ids fit. */
const WAKE_UP_BYTES_MAX = 512 * 1024;
/** Sent and not yet answered; past it wake-ups are dropped. */
const UNANSWERED_BYTES_MAX = 4 << 20;
const UNANSWERED_MAX = 2_000;
const SENDER_BYTES = 8;

/**
 * Wake-ups between processes over Redis pub/sub, a channel for each project. Listeners of this process hear its own at once,
 * whether Redis is there or not; what is published while it is not there is lost to others, and nothing is sent again
 * after it came back. They are hints: the gateway polls the store for checkpoints and settings, the replicator for
 * applied positions, the copy repeats parts that nobody answered for, and the worker repeats a gap while it lasts.
 *
 * Plain and not sharded pub/sub: listeners for all projects need a pattern, which sharded channels do not have. In a cluster
 * every node then carries every wake-up, which are few and small; the channel's name already has its hash tag.
 *
 * @throws AppError QUEUE_UNAVAILABLE, QUEUE_EVICTING, QUEUE_SERVER_UNSUPPORTED
 */
export async function createRedisWakeUps(options: RedisWakeUpsOptions): Promise<RedisWakeUps> {
  const wakeUps = new PubSubWakeUps(options);
  try {
    await wakeUps.start();
  } catch (error) {
    await wakeUps.close();
    throw error;
  }
  return wakeUps;
}

class PubSubWakeUps implements RedisWakeUps {
  private readonly options: RedisWakeUpsOptions;
  private readonly answerTimeoutMs: number;
  private readonly troubles: Troubles;
  private readonly publisher: RedisLink;
  private readonly subscriber: RedisLink;
  /** Redis tells a listener for all projects and one for a single project on different channels, so they are kept apart. */
  private readonly ofProject = createMemoryWakeUps();
  private readonly ofAll = createMemoryWakeUps();
  private readonly listenersByChannel = new Map<string, number>();
  /** Ours come back from Redis; who listens here has heard them by then. */
  private readonly sender = randomBytes(SENDER_BYTES);
  private unanswered = 0;
  private unansweredBytes = 0;
  private cancelHeartbeat = (): void => {};
  private isClosed = false;

  constructor(options: RedisWakeUpsOptions) {
    this.options = options;
    this.answerTimeoutMs = options.answerTimeoutMs ?? ANSWER_TIMEOUT_MS;
    this.troubles = new Troubles(options.onTrouble);
    this.publisher = this.newLink('sluice-wake', () => {});
    this.subscriber = this.newLink('sluice-listen', () => this.listenAgain());
    this.subscriber.redis.on('messageBuffer', (channel: Buffer, message: Buffer) =>
      this.hear(channel, message, this.ofProject),
    );
    this.subscriber.redis.on('pmessageBuffer', (_pattern: unknown, channel: Buffer, message: Buffer) =>
      this.hear(channel, message, this.ofAll),
    );
  }

  async start(): Promise<void> {
    const timeoutMs = this.options.startTimeoutMs ?? START_TIMEOUT_MS;
    await Promise.all([
      checkServer(this.publisher, this.options.clock, timeoutMs),
      checkServer(this.subscriber, this.options.clock, timeoutMs),
    ]);
    this.heartbeat();
  }

  publish(wakeUp: WakeUp): void {
    this.ofProject.publish(wakeUp);
    this.ofAll.publish(wakeUp);
    if (!this.publisher.isReady || this.unanswered >= UNANSWERED_MAX || this.unansweredBytes > UNANSWERED_BYTES_MAX)
      return;
    const message = this.encoded(wakeUp);
    this.unanswered++;
    this.unansweredBytes += message.length;
    const answered = (): void => {
      this.unanswered--;
      this.unansweredBytes -= message.length;
    };
    this.publisher.call('PUBLISH', [wakeUpChannel(wakeUp.project), message]).then(answered, answered);
  }

  subscribe(project: ProjectId | 'all', listener: (wakeUp: WakeUp) => void): () => void {
    const channel = project === 'all' ? ALL_WAKE_UP_CHANNELS : wakeUpChannel(project);
    const stop = (project === 'all' ? this.ofAll : this.ofProject).subscribe(project, listener);
    const count = this.listenersByChannel.get(channel) ?? 0;
    this.listenersByChannel.set(channel, count + 1);
    if (count === 0) this.listen(channel, 'subscribe');
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      stop();
      this.leave(channel);
    };
  }

  async settled(): Promise<void> {
    await this.subscriber.redis.ping();
  }

  async close(): Promise<void> {
    this.isClosed = true;
    this.cancelHeartbeat();
    this.publisher.close();
    this.subscriber.close();
  }

  private newLink(name: string, onReady: () => void): RedisLink {
    const { answerTimeoutMs, troubles } = this;
    return new RedisLink({
      url: this.options.url,
      name,
      answerTimeoutMs,
      onLost: (error) => troubles.begin(name, error),
      onReady() {
        troubles.end(name);
        onReady();
      },
    });
  }

  private leave(channel: string): void {
    const count = this.listenersByChannel.get(channel) ?? 0;
    if (count > 1) {
      this.listenersByChannel.set(channel, count - 1);
      return;
    }
    this.listenersByChannel.delete(channel);
    this.listen(channel, 'unsubscribe');
  }

  /** What fails is done again when the link is back. */
  private listen(channel: string, how: 'subscribe' | 'unsubscribe'): void {
    if (!this.subscriber.isReady) return;
    const { redis } = this.subscriber;
    const isPattern = channel === ALL_WAKE_UP_CHANNELS;
    const command = isPattern
      ? how === 'subscribe'
        ? redis.psubscribe(channel)
        : redis.punsubscribe(channel)
      : redis[how](channel);
    command.catch(() => {});
  }

  private listenAgain(): void {
    for (const channel of this.listenersByChannel.keys()) this.listen(channel, 'subscribe');
  }

  /** Somebody who only listens would never notice that the link is dead: a question now and then does. */
  private heartbeat(): void {
    if (this.isClosed) return;
    this.cancelHeartbeat = this.options.clock.setTimer(this.answerTimeoutMs, () => {
      if (this.subscriber.isReady) this.subscriber.redis.ping().catch(() => {});
      this.heartbeat();
    });
  }

  private encoded(wakeUp: WakeUp): Uint8Array {
    const out = new ByteWriter(256);
    out.raw(this.sender);
    writeWakeUp(out, wakeUp);
    if (out.length <= WAKE_UP_BYTES_MAX) return out.take();
    out.reset();
    out.raw(this.sender);
    writeWakeUp(out, { kind: 'streams', project: wakeUp.project });
    return out.take();
  }

  private hear(channel: Buffer, message: Buffer, listeners: WakeUps): void {
    if (message.length < SENDER_BYTES || message.length > SENDER_BYTES + WAKE_UP_BYTES_MAX) return;
    if (this.sender.equals(message.subarray(0, SENDER_BYTES))) return;
    const wakeUp = this.decoded(message);
    if (wakeUp && wakeUpChannel(wakeUp.project) === channel.toString()) listeners.publish(wakeUp);
  }

  /** Undefined for what is no wake-up of this version: hints may be lost. */
  private decoded(message: Buffer): WakeUp | undefined {
    try {
      return readWakeUp(new ByteReader(message, SENDER_BYTES));
    } catch (error) {
      if (error instanceof MalformedBytesError) return undefined;
      throw error;
    }
  }
}

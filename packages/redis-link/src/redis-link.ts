import { createHash } from 'node:crypto';
import { AppError } from '@sluice/errors';
import { Redis } from 'ioredis';

export interface RedisLinkOptions {
  /** `redis:` or `rediss:`, with user and password if the server asks for them; never logged. */
  readonly url: string;
  /** Shown by CLIENT LIST. */
  readonly name: string;
  /** A link on which a command got no answer for so long is cut and made anew. Milliseconds. */
  readonly answerTimeoutMs: number;
  /** Called once when the link is lost, not again until it was back. */
  readonly onLost: (error: AppError) => void;
  /** Called whenever commands can be sent from now on. */
  readonly onReady: () => void;
}

const RECONNECT_MIN_MS = 50;
const RECONNECT_MAX_MS = 1_000;

/** A script that Redis runs as one step. */
export interface Script {
  readonly lua: string;
  readonly sha: string;
}
export function defineScript(lua: string): Script {
  return { lua, sha: createHash('sha1').update(lua).digest('hex') };
}

/**
 * One connection to Redis, made again with back-off whenever it is lost. A command is sent at once or rejected, and is
 * never sent twice by itself: whoever calls decides what a lost answer means.
 */
export class RedisLink {
  readonly #redis: Redis;
  readonly #waiting = new Set<() => void>();
  #lastError = 'no answer';
  #isLost = false;
  #isClosed = false;

  constructor(options: RedisLinkOptions) {
    this.#redis = new Redis(checkedUrl(options.url), {
      // Replies of streams differ between the protocol's versions.
      protocol: 2,
      connectionName: options.name,
      disableClientInfo: true,
      connectTimeout: options.answerTimeoutMs,
      socketTimeout: options.answerTimeoutMs,
      retryStrategy: (tries) => Math.min(RECONNECT_MIN_MS * 2 ** (tries - 1), RECONNECT_MAX_MS),
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      // Whoever subscribed does it again: the driver would not hear that its own attempt was rejected, and that ends a process.
      autoResubscribe: false,
      // Rejects what is under way when the link is lost. Any other value would leave it unanswered.
      maxRetriesPerRequest: 0,
    });
    this.#redis.on('error', (error: Error) => {
      this.#lastError = error.message;
    });
    this.#redis.on('ready', () => {
      this.#isLost = false;
      options.onReady();
      for (const wake of this.#waiting) wake();
    });
    this.#redis.on('close', () => {
      if (this.#isLost || this.#isClosed) return;
      this.#isLost = true;
      options.onLost(this.unavailable());
    });
  }

  get isReady(): boolean {
    return this.#redis.status === 'ready';
  }

  /** The driver, for subscriptions. */
  get redis(): Redis {
    return this.#redis;
  }

  /** What is wrong, without the command: its arguments are rows or passwords. */
  unavailable(): AppError {
    return new AppError('QUEUE_UNAVAILABLE', { internal: this.#lastError });
  }

  /** Resolves when commands can be sent, the signal is aborted or the link is closed. Never rejects. */
  ready(signal: AbortSignal): Promise<void> {
    if (this.isReady || this.#isClosed || signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const done = (): void => {
        this.#waiting.delete(done);
        signal.removeEventListener('abort', done);
        resolve();
      };
      this.#waiting.add(done);
      signal.addEventListener('abort', done);
    });
  }

  /** Sends a command; texts in the reply are Buffers. @throws Error whose message begins with the code that Redis gave */
  async call(command: string, args: readonly (string | number | Uint8Array)[]): Promise<unknown> {
    try {
      return await this.#redis.callBuffer(command, args.map(argumentOf));
    } catch (error) {
      // The driver's error carries the command, which must not reach a log.
      throw new Error(error instanceof Error ? error.message : 'unknown failure');
    }
  }

  /** Runs a script by its digest; a server that does not know it, as after a restart, is sent the text. */
  async run(
    script: Script,
    keys: readonly string[],
    args: readonly (string | number | Uint8Array)[],
  ): Promise<unknown> {
    const rest = [keys.length, ...keys, ...args];
    try {
      return await this.call('EVALSHA', [script.sha, ...rest]);
    } catch (error) {
      if (!isReply(error, 'NOSCRIPT')) throw error;
      return await this.call('EVAL', [script.lua, ...rest]);
    }
  }

  /** Ends the link; what is under way is rejected. */
  close(): void {
    this.#isClosed = true;
    this.#redis.disconnect();
    for (const wake of this.#waiting) wake();
  }
}

/** Whether Redis answered with an error of this code. */
export function isReply(error: unknown, code: string): boolean {
  return error instanceof Error && error.message.startsWith(code);
}

function argumentOf(value: string | number | Uint8Array): string | number | Buffer {
  return typeof value === 'object' ? Buffer.from(value.buffer, value.byteOffset, value.byteLength) : value;
}

/** Checked here because the error of a malformed URL would quote it, password and all. */
function checkedUrl(url: string): string {
  if (URL.canParse(url) && /^rediss?:\/\//.test(url)) return url;
  throw new AppError('QUEUE_UNAVAILABLE', { internal: 'the URL of Redis is malformed' });
}

import type { Clock } from '@sluice/domain';
import type { AppError } from '@sluice/errors';
import { checkServer, RedisLink, Troubles } from '@sluice/redis-link';

export interface LinksOptions {
  /** `redis:` or `rediss:`; never logged. */
  readonly url: string;
  readonly clock: Clock;
  /** Something is wrong that heals by itself: told once, and again only after it was well in between. */
  readonly onTrouble: (error: AppError) => void;
  /** How long a start waits for Redis, milliseconds. */
  readonly startTimeoutMs?: number;
  /** How soon a half-open link is noticed, milliseconds. */
  readonly answerTimeoutMs?: number;
}

const START_TIMEOUT_MS = 10_000;
const ANSWER_TIMEOUT_MS = 5_000;

/** One link for commands and one that listens to a channel of its own, which needs a link to itself. */
export class Links {
  readonly commands: RedisLink;
  readonly #listener: RedisLink;
  readonly #options: LinksOptions;
  /** Whether what is published to the channel arrives. */
  isListening = false;

  constructor(
    options: LinksOptions,
    channel: string,
    on: { readonly message: (bytes: Buffer) => void; readonly listening: () => void; readonly deaf: () => void },
  ) {
    this.#options = options;
    const troubles = new Troubles(options.onTrouble);
    const newLink = (name: string, onReady: () => void, onLost: () => void): RedisLink =>
      new RedisLink({
        url: options.url,
        name,
        answerTimeoutMs: options.answerTimeoutMs ?? ANSWER_TIMEOUT_MS,
        onReady() {
          troubles.end(name);
          onReady();
        },
        onLost(error) {
          troubles.begin(name, error);
          onLost();
        },
      });
    this.commands = newLink(
      'sluice-uploads',
      () => {},
      () => {},
    );
    this.#listener = newLink(
      'sluice-uploads-listen',
      () =>
        void this.#listener.redis.subscribe(channel).then(
          () => {
            this.isListening = true;
            on.listening();
          },
          // The link was lost again, and this is done anew when it is back.
          () => {},
        ),
      () => {
        this.isListening = false;
        on.deaf();
      },
    );
    this.#listener.redis.on('messageBuffer', (_channel: Buffer, message: Buffer) => on.message(message));
  }

  /** @throws AppError QUEUE_UNAVAILABLE, QUEUE_EVICTING, QUEUE_SERVER_UNSUPPORTED */
  async start(): Promise<void> {
    const { clock, startTimeoutMs = START_TIMEOUT_MS } = this.#options;
    await checkServer(this.commands, clock, startTimeoutMs);
    const waiting = new AbortController();
    const cancel = clock.setTimer(startTimeoutMs, () => waiting.abort());
    await this.#listener.ready(waiting.signal);
    cancel();
    if (!this.#listener.isReady) throw this.#listener.unavailable();
    // Asked behind the subscription on the same link: with the answer it is in force.
    await this.heard();
  }

  get isReady(): boolean {
    return this.isListening && this.commands.isReady;
  }

  /** Resolves when the listening link has answered; one that does not is cut and made anew. @throws when it was lost */
  async heard(): Promise<void> {
    await this.#listener.redis.ping();
  }

  /** From now on publishers find nobody at the channel. What was on its way still arrives. */
  async stopListening(): Promise<void> {
    this.isListening = false;
    if (this.#listener.isReady) await this.#listener.redis.unsubscribe();
  }

  close(): void {
    this.#listener.close();
    this.commands.close();
  }
}

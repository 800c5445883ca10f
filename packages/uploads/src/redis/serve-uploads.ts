import { ByteReader, MalformedBytesError } from '@sluice/domain';
import { isAppError } from '@sluice/errors';
import type { Uploads } from '../port.ts';
import { type Answer, decodeRequest, encodeResponse, type Question, type Request } from './codec.ts';
import { Links, type LinksOptions } from './links.ts';
import { answersChannel, BEAT_EVERY_MS, beat, inboxChannel, leave } from './roster.ts';

export interface ServeUploadsOptions extends LinksOptions {
  /** Names this writer among all that ever were. */
  readonly id: string;
  /** Who does the work. */
  readonly uploads: Uploads;
  /** Questions under way in this process; what comes beyond them is told to come again. */
  readonly underWayMax?: number;
}
export interface ServedUploads {
  /** Undefined while gateways can ask, else why not. */
  readonly notReady: string | undefined;
  /** Takes nothing more; resolves when what was taken is answered. */
  close(): Promise<void>;
}

const UNDER_WAY_MAX = 2_000;

/**
 * Answers what gateways ask over Redis, until closed. A writer is asked while it beats, and beats while it hears.
 * @throws AppError QUEUE_UNAVAILABLE, QUEUE_EVICTING, QUEUE_SERVER_UNSUPPORTED
 */
export async function serveUploads(options: ServeUploadsOptions): Promise<ServedUploads> {
  const served = new RedisInbox(options);
  try {
    await served.start();
  } catch (error) {
    await served.close();
    throw error;
  }
  return served;
}

class RedisInbox implements ServedUploads {
  readonly #options: ServeUploadsOptions;
  readonly #links: Links;
  readonly #underWay = new Set<Promise<void>>();
  #isClosing = false;
  #isClosed = false;
  #cancelBeat: () => void = () => {};

  constructor(options: ServeUploadsOptions) {
    this.#options = options;
    this.#links = new Links(options, inboxChannel(options.id), {
      message: (bytes) => this.#take(bytes),
      // Asked from now on, and not only after the next beat.
      listening: () => void this.#beat().catch(() => {}),
      deaf: () => {},
    });
  }

  async start(): Promise<void> {
    await this.#links.start();
    this.#beatOn();
  }

  get notReady(): string | undefined {
    return this.#links.isReady ? undefined : 'Redis does not answer';
  }

  async close(): Promise<void> {
    this.#isClosing = true;
    // Whoever waits for an answer goes on waiting while this one beats; others find nobody here, and ask the next.
    await this.#beat().catch(() => {});
    await this.#links.stopListening().catch(() => {});
    await Promise.all(this.#underWay);
    this.#isClosed = true;
    this.#cancelBeat();
    if (this.#links.commands.isReady) await leave(this.#links.commands, this.#options.id).catch(() => {});
    this.#links.close();
  }

  #beatOn(): void {
    if (this.#isClosed) return;
    this.#cancelBeat = this.#options.clock.setTimer(BEAT_EVERY_MS, () => {
      // One that fails is followed by the next.
      void this.#beat()
        .catch(() => {})
        .then(() => this.#beatOn());
    });
  }
  async #beat(): Promise<void> {
    if (!this.#links.isListening && !this.#isClosing) return;
    // Until it answers others are asked: a link may be dead without a sign.
    await this.#links.heard();
    if (!this.#isClosed) await beat(this.#links.commands, this.#options.id, this.#isClosing);
  }

  #take(message: Buffer): void {
    const request = requestFrom(message);
    if (!request) return;
    const isFull = this.#underWay.size >= (this.#options.underWayMax ?? UNDER_WAY_MAX);
    const answer = isFull ? BUSY : answerOf(this.#options.uploads, request.question);
    const working = this.#reply(request, answer).finally(() => this.#underWay.delete(working));
    this.#underWay.add(working);
  }
  async #reply({ from, id }: Request, pending: Answer | Promise<Answer>): Promise<void> {
    const answer = await pending;
    // One that is lost is asked for again.
    await this.#links.commands.call('PUBLISH', [answersChannel(from), encodeResponse({ id, answer })]).catch(() => {});
  }
}

const BUSY: Answer = { kind: 'error', code: 'WRITES_BUSY' };

/** Undefined for what another edition sent: nobody answers, and it is asked again. */
function requestFrom(message: Buffer): Request | undefined {
  try {
    return decodeRequest(new ByteReader(new Uint8Array(message.buffer, message.byteOffset, message.byteLength)));
  } catch (error) {
    if (error instanceof MalformedBytesError) return undefined;
    throw error;
  }
}

async function answerOf(uploads: Uploads, question: Question): Promise<Answer> {
  try {
    return question.kind === 'state'
      ? { kind: 'state', ...(await uploads.stateOf(question.project)) }
      : { kind: 'write', ...(await uploads.write(question.upload)) };
  } catch (error) {
    return { kind: 'error', code: isAppError(error) ? error.code : 'WRITES_FAILED' };
  }
}

import { randomBytes } from 'node:crypto';
import { ByteReader, MalformedBytesError, type ProjectId } from '@sluice/domain';
import { AppError, type Code } from '@sluice/errors';
import type { Upload, UploadAnswer, Uploads, WritesState } from '../port.ts';
import { type Answer, decodeResponse, encodeRequest, type Question } from './codec.ts';
import { Links, type LinksOptions } from './links.ts';
import { ranked } from './ranked.ts';
import { answersChannel, BEAT_EVERY_MS, inboxChannel, type Roster, readRoster } from './roster.ts';
import { type Bound, Shares } from './shares.ts';

export interface RemoteUploadsOptions extends LinksOptions {
  /** What may wait for answers of one project, and of all together; the rest is told to come again. */
  readonly perProject?: Bound;
  readonly inAll?: Bound;
}
export interface RemoteUploads extends Uploads {
  /** Ends it; who still waits is told to come again. */
  close(): void;
}

const PER_PROJECT: Bound = { count: 200, bytes: 16 * 1024 * 1024 };
const IN_ALL: Bound = { count: 4_000, bytes: 128 * 1024 * 1024 };
/** Longer than a writer takes for anything: who waited so long was forgotten. */
const FORGOTTEN_MS = 90_000;

interface Waiting {
  readonly project: ProjectId;
  readonly sinceMs: number;
  /** Undefined until it is known who was asked. */
  writer: string | undefined;
  readonly settle: (answer: Answer) => void;
}

/**
 * Uploads for writers in other processes, over Redis pub/sub: a question to the inbox of one writer, its answer to the channel of
 * this gateway. Nothing is queued in Redis. What is lost on the way, with a link or with a writer that died, is an answer
 * `retry`; the upload comes again, and the record in the source decides whether it was written before (L15).
 * @throws AppError QUEUE_UNAVAILABLE, QUEUE_EVICTING, QUEUE_SERVER_UNSUPPORTED
 */
export async function createRemoteUploads(options: RemoteUploadsOptions): Promise<RemoteUploads> {
  const uploads = new RedisUploads(options);
  try {
    await uploads.start();
  } catch (error) {
    uploads.close();
    throw error;
  }
  return uploads;
}

class RedisUploads implements RemoteUploads {
  readonly #options: RemoteUploadsOptions;
  readonly #id = randomBytes(8).toString('hex');
  readonly #links: Links;
  readonly #shares: Shares;
  readonly #waitingById = new Map<number, Waiting>();
  #lastId = 0;
  #roster: (Roster & { readonly atMs: number }) | undefined;
  #reading: Promise<Roster> | undefined;
  #cancelLook: (() => void) | undefined;
  #isClosed = false;

  constructor(options: RemoteUploadsOptions) {
    this.#options = options;
    this.#shares = new Shares(options.perProject ?? PER_PROJECT, options.inAll ?? IN_ALL);
    this.#links = new Links(options, answersChannel(this.#id), {
      message: (bytes) => this.#hear(bytes),
      listening: () => {},
      deaf: () => this.#settleAll(),
    });
  }

  start(): Promise<void> {
    return this.#links.start();
  }

  async stateOf(project: ProjectId): Promise<WritesState> {
    const answer = await this.#ask(project, { kind: 'state', project });
    if (answer.kind === 'state') return { state: answer.state, code: answer.code };
    return { state: 'unavailable', code: answer.code };
  }

  async write(upload: Upload): Promise<UploadAnswer> {
    const answer = await this.#ask(upload.project, { kind: 'write', upload });
    if (answer.kind === 'write') return { result: answer.result, code: answer.code, expected: answer.expected };
    if (answer.code === 'WRITE_CLIENT_FOREIGN') throw new AppError(answer.code);
    return { result: 'retry', code: answer.code, expected: upload.seq };
  }

  close(): void {
    this.#isClosed = true;
    this.#cancelLook?.();
    this.#settleAll();
    this.#links.close();
  }

  async #ask(project: ProjectId, question: Question): Promise<Answer> {
    if (!this.#links.isReady || this.#isClosed) return failed('WRITES_BUSY');
    const id = ++this.#lastId;
    const message = encodeRequest({ from: this.#id, id, question });
    const giveBack = this.#shares.take(project, message.length);
    if (!giveBack) return failed('WRITES_BUSY');
    const answer = new Promise<Answer>((settle) => {
      const waiting: Waiting = { project, sinceMs: this.#options.clock.monotonicMs(), writer: undefined, settle };
      this.#waitingById.set(id, waiting);
      this.#send(message, waiting).then(
        (code) => code && this.#settle(id, failed(code)),
        () => this.#settle(id, failed('WRITES_BUSY')),
      );
    });
    this.#lookSoon();
    return answer.finally(giveBack);
  }

  /** Asks the first writer that listens. Resolves to the code of why there is none. */
  async #send(message: Uint8Array, waiting: Waiting): Promise<Code | undefined> {
    const isTaken = await this.#offer(await this.#takingWriters(), message, waiting);
    // Those that were known are all gone: others may have come.
    if (isTaken || (await this.#offer((await this.#readRoster()).taking, message, waiting))) return undefined;
    return 'WRITES_NOT_SERVED';
  }
  async #offer(writers: readonly string[], message: Uint8Array, waiting: Waiting): Promise<boolean> {
    for (const writer of ranked(writers, waiting.project)) {
      waiting.writer = writer;
      const listeners = await this.#links.commands.call('PUBLISH', [inboxChannel(writer), message]);
      if (Number(listeners) > 0) return true;
      this.#forget(writer);
    }
    return false;
  }

  /** Redis notices that its connection is gone sooner than that it beats no more. */
  #forget(writer: string): void {
    if (this.#roster) this.#roster = { ...this.#roster, taking: this.#roster.taking.filter((id) => id !== writer) };
  }

  async #takingWriters(): Promise<readonly string[]> {
    const known = this.#roster;
    const isFresh = known && this.#options.clock.monotonicMs() - known.atMs < BEAT_EVERY_MS;
    return isFresh && known.taking.length > 0 ? known.taking : (await this.#readRoster()).taking;
  }
  #readRoster(): Promise<Roster> {
    this.#reading ??= readRoster(this.#links.commands)
      .then((roster) => {
        this.#roster = { ...roster, atMs: this.#options.clock.monotonicMs() };
        return roster;
      })
      .finally(() => {
        this.#reading = undefined;
      });
    return this.#reading;
  }

  /** While somebody waits: whether those who were asked are alive, and whether answers can arrive. */
  #lookSoon(): void {
    if (this.#cancelLook || this.#isClosed) return;
    this.#cancelLook = this.#options.clock.setTimer(BEAT_EVERY_MS, () => {
      void this.#look().finally(() => {
        this.#cancelLook = undefined;
        if (this.#waitingById.size > 0) this.#lookSoon();
      });
    });
  }
  async #look(): Promise<void> {
    // Without an answer the link is cut, and all who wait are told.
    this.#links.heard().catch(() => {});
    const roster = await this.#readRoster().catch(() => undefined);
    const nowMs = this.#options.clock.monotonicMs();
    for (const [id, { writer, sinceMs }] of this.#waitingById) {
      const isDead = roster !== undefined && writer !== undefined && !roster.alive.has(writer);
      if (isDead || nowMs - sinceMs > FORGOTTEN_MS) this.#settle(id, failed('WRITES_BUSY'));
    }
  }

  #hear(message: Buffer): void {
    try {
      const { id, answer } = decodeResponse(new ByteReader(message));
      this.#settle(id, answer);
    } catch (error) {
      // Of another edition: who waits for it is told in the end.
      if (!(error instanceof MalformedBytesError)) throw error;
    }
  }
  #settle(id: number, answer: Answer): void {
    const waiting = this.#waitingById.get(id);
    this.#waitingById.delete(id);
    waiting?.settle(answer);
  }
  /** Nothing that was asked is answered any more. */
  #settleAll(): void {
    for (const id of [...this.#waitingById.keys()]) this.#settle(id, failed('WRITES_BUSY'));
  }
}

function failed(code: Code): Answer {
  return { kind: 'error', code };
}

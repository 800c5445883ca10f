import type { Clock } from '@sluice/domain';
import { type ClientMessage, LIMITS, type ServerMessage } from '@sluice/protocol';
import type { Replica } from '../store/replica.ts';

export interface UploadSenderOptions {
  readonly replica: Replica;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly send: (message: ClientMessage) => void;
}

/** Milliseconds. */
const PAUSE_MIN = 250;
const PAUSE_MAX = 5000;

/**
 * Sends what is pending, in order, a bounded number ahead of the answers. An answer settles nothing: the rows of a checkpoint do
 * (L15). Whatever is not settled is sent again with the next connection.
 */
export class UploadSender {
  readonly #options: UploadSenderOptions;
  /** Whether the server takes uploads on this connection. */
  #isOpen = false;
  #sentThrough = 0;
  #unanswered = 0;
  /** Set once an answer asked for uploads again: from which on, as soon as all answers are there. */
  #restartAt: number | undefined;
  #pauses = 0;
  #cancelPause: (() => void) | undefined;

  constructor(options: UploadSenderOptions) {
    this.#options = options;
  }

  /** What the server says of writes on this connection. */
  setOpen(isOpen: boolean): void {
    this.#isOpen = isOpen;
    this.pump();
  }
  /** The connection ended: answers to what was sent do not come any more. */
  hungUp(): void {
    this.#cancelPause?.();
    this.#cancelPause = undefined;
    this.#isOpen = false;
    this.#sentThrough = 0;
    this.#unanswered = 0;
    this.#restartAt = undefined;
  }
  /** What is pending has other numbers now. */
  renumbered(): void {
    if (this.#unanswered > 0) this.#restartAt = 0;
    else this.#sentThrough = 0;
  }

  answered({ seq, result, expected }: Extract<ServerMessage, { type: 'upload-result' }>): void {
    this.#unanswered = Math.max(0, this.#unanswered - 1);
    if (result === 'recorded') this.#pauses = 0;
    else this.#restartAt = Math.min(this.#restartAt ?? Number.POSITIVE_INFINITY, result === 'gap' ? expected : seq);
    if (this.#restartAt !== undefined && this.#unanswered === 0) this.#pause();
    else this.pump();
  }

  #pause(): void {
    const { clock, random } = this.#options;
    const ceiling = Math.min(PAUSE_MAX, PAUSE_MIN * 2 ** Math.min(this.#pauses, 10));
    this.#pauses++;
    this.#cancelPause?.();
    this.#cancelPause = clock.setTimer(ceiling * (0.5 + random() / 2), () => {
      this.#cancelPause = undefined;
      this.#sentThrough = Math.max(0, (this.#restartAt ?? 1) - 1);
      this.#restartAt = undefined;
      this.pump();
    });
  }

  /** To be called whenever there may be more to send. */
  pump(): void {
    if (!this.#isOpen || this.#restartAt !== undefined || this.#cancelPause) return;
    const { replica, send } = this.#options;
    const refusalsKept = replica.settledSeq;
    this.#sentThrough = Math.max(this.#sentThrough, refusalsKept);
    const room = LIMITS.uploadsUnansweredMax - this.#unanswered;
    if (room <= 0) return;
    for (const { seq, payload } of replica.pendingAfter(this.#sentThrough, room)) {
      this.#sentThrough = seq;
      this.#unanswered++;
      send({ type: 'upload', seq, refusalsKept, mutations: payload });
      // Sending may find the connection gone.
      if (!this.#isOpen) return;
    }
  }
}

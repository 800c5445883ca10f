import { type Clock, type Lsn, lsnFromBigint } from '@sluice/domain';
import { formatStandbyStatus } from '@sluice/pgoutput';

export interface StandbyStatusOptions {
  readonly clock: Clock;
  readonly intervalMs: number;
  /** Sends one CopyData payload to the server. */
  readonly send: (payload: Uint8Array<ArrayBuffer>) => void;
  /** End of what was received. */
  readonly received: () => Lsn;
  /** L2: the exact end of the durable commit before the last; 0 while nothing may be confirmed. */
  readonly confirmed: () => Lsn;
}

const soonMs = 200;

/**
 * Keeps the server informed on a timer of its own: while the socket is paused, nothing is read, but the server would cut a
 * receiver that stays silent. Flush and apply are the confirmed LSN exactly: one byte more and the server would not send
 * a commit that begins there (L2).
 */
export class StandbyStatus {
  private readonly options: StandbyStatusOptions;
  private cancelTimer = (): void => {};
  private cancelSoon: (() => void) | undefined;
  private sentFlushed = lsnFromBigint(0n);

  constructor(options: StandbyStatusOptions) {
    this.options = options;
  }

  start(): void {
    this.sendNow(true);
    this.cancelTimer = this.options.clock.setTimer(this.options.intervalMs, () => this.start());
  }

  stop(): void {
    this.cancelTimer();
    this.cancelSoon?.();
  }

  /** More may be confirmed than was sent: says so within a moment, once for many commits. */
  sendSoon(): void {
    if (this.cancelSoon || this.options.confirmed() === this.sentFlushed) return;
    this.cancelSoon = this.options.clock.setTimer(soonMs, () => {
      this.cancelSoon = undefined;
      this.sendNow();
    });
  }

  /** @param replyRequested asks the server to answer, which shows whether it is still there. */
  sendNow(replyRequested = false): void {
    const { clock, send, received, confirmed } = this.options;
    const flushed = confirmed();
    this.sentFlushed = flushed;
    const written = received() > flushed ? received() : flushed;
    send(formatStandbyStatus({ written, flushed, applied: flushed, replyNowMs: clock.nowMs(), replyRequested }));
  }
}

import { type Clock, delay } from '@sluice/domain';

export interface CopyPaceOptions {
  readonly clock: Clock;
  /** A copy reads no more than this from its source, bytes per second. */
  readonly bytesPerSecondMax: number;
  /** Bytes of WAL that the stream is behind its source. */
  readonly readLagBytes: () => Promise<number>;
  /** A copy stands still while the stream is further behind than this, bytes. */
  readonly lagBytesMax: number;
}

/** How often the lag is asked for, and asked again while a copy waits for it. */
const lagIntervalMs = 1000;
/** What a timer is worth. */
const shortestPauseMs = 1;

/**
 * Slows copies down: to a rate, and while the stream falls behind, since both share the way into the store and the WAL that is
 * kept meanwhile fills the customer's disk (L16).
 */
export class CopyPace {
  private readonly options: CopyPaceOptions;
  private readonly startedMs: number;
  private bytes = 0;
  private lagReadAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: CopyPaceOptions) {
    this.options = options;
    this.startedMs = options.clock.monotonicMs();
  }

  /** Resolves when so many more bytes may be read. @throws what reading the lag throws */
  async admit(bytes: number, signal: AbortSignal): Promise<void> {
    const { clock, bytesPerSecondMax } = this.options;
    await this.yieldToStream(signal);
    // What a pause has saved up is not caught up with: the rate is a bound, not an average.
    const dueMs = this.startedMs + (this.bytes * 1000) / bytesPerSecondMax;
    const nowMs = clock.monotonicMs();
    if (dueMs < nowMs) this.bytes = ((nowMs - this.startedMs) * bytesPerSecondMax) / 1000;
    this.bytes += bytes;
    if (dueMs - nowMs >= shortestPauseMs) await delay(clock, dueMs - nowMs, signal);
  }

  private async yieldToStream(signal: AbortSignal): Promise<void> {
    const { clock, readLagBytes, lagBytesMax } = this.options;
    while (!signal.aborted && clock.monotonicMs() - this.lagReadAtMs >= lagIntervalMs) {
      if ((await readLagBytes()) <= lagBytesMax) {
        this.lagReadAtMs = clock.monotonicMs();
        return;
      }
      await delay(clock, lagIntervalMs, signal);
    }
  }
}

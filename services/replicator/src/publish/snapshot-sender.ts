import { type Clock, delay, type ProjectId } from '@sluice/domain';
import { AppError } from '@sluice/errors';
import type { OpQueue, SnapshotFrame, WakeUp, WakeUps } from '@sluice/op-queue';

export interface SnapshotSenderOptions {
  readonly queue: OpQueue;
  readonly wakeUps: WakeUps;
  readonly clock: Clock;
  readonly project: ProjectId;
}

/** Parts that are published and not known to be stored; each is held in memory until then. */
const unansweredMax = 3;
/** A part without an answer is published again: the queue may lose it, and the store takes it only once. */
const answerTimeoutMs = 15_000;

/**
 * Publishes the parts of one table's copy so that each is stored, whatever the queue does.
 */
export class SnapshotSender {
  private readonly options: SnapshotSenderOptions;
  private readonly unanswered = new Map<number, SnapshotFrame>();
  private readonly unsubscribe: () => void;
  private refused = false;
  private isForgotten = false;
  private wake = (): void => {};

  constructor(options: SnapshotSenderOptions) {
    this.options = options;
    this.unsubscribe = options.wakeUps.subscribe(options.project, (wakeUp) => this.note(wakeUp));
  }

  /** Resolves when the part was published and there is room for another. @throws AppError SCHEMA_RELOADING when it was refused */
  async send(frame: SnapshotFrame, signal: AbortSignal): Promise<void> {
    this.unanswered.set(frame.part, frame);
    await this.options.queue.publish(frame, signal);
    await this.answered(frame.last ? 0 : unansweredMax - 1, signal);
  }

  close(): void {
    this.unsubscribe();
  }

  /** The queue forgot what it had: everything unanswered is published again without waiting. */
  forgotten(): void {
    this.isForgotten = true;
    this.wake();
  }

  /** Waits until at most `count` parts are unanswered, publishing them again when it takes too long. */
  private async answered(count: number, signal: AbortSignal): Promise<void> {
    while (this.unanswered.size > count) {
      signal.throwIfAborted();
      if (this.refused) throw new AppError('SCHEMA_RELOADING', { internal: 'a part of the copy was refused' });
      const isAnswered = await this.nextAnswer(signal);
      if (isAnswered && !this.isForgotten) continue;
      this.isForgotten = false;
      for (const frame of [...this.unanswered.values()]) await this.options.queue.publish(frame, signal);
    }
  }

  /** True when an answer came, false when it took too long. */
  private async nextAnswer(signal: AbortSignal): Promise<boolean> {
    const waiting = new AbortController();
    let isAnswered = false;
    this.wake = () => {
      isAnswered = true;
      waiting.abort();
    };
    await delay(this.options.clock, answerTimeoutMs, AbortSignal.any([signal, waiting.signal]));
    return isAnswered;
  }

  private note(wakeUp: WakeUp): void {
    if (wakeUp.kind !== 'snapshot-part') return;
    const frame = this.unanswered.get(wakeUp.part);
    if (!frame || wakeUp.table !== `${frame.schema}.${frame.table}` || !isSameStreams(frame, wakeUp.streams)) return;
    if (wakeUp.outcome === 'applied') this.unanswered.delete(wakeUp.part);
    else this.refused = true;
    this.wake();
  }
}

function isSameStreams(frame: SnapshotFrame, streams: readonly number[]): boolean {
  return frame.streams.length === streams.length && frame.streams.every((stream) => streams.includes(stream));
}

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
const unansweredMax = 4;
/**
 * Parts without an answer are published again: the queue may lose them, with a shard's holder for one, and the store takes each
 * only once. Soon at first, so that a copy heals as fast as everything else, and ever more rarely while the workers are only slow.
 */
const patienceMinMs = 4_000;
const patienceMaxMs = 32_000;
/** A part that is refused more often than this is refused for what it is, and not for being somebody's older one. */
const refusalsMax = 3;

interface Unanswered {
  readonly frame: SnapshotFrame;
  refusals: number;
  /** It must be published again. */
  isDue: boolean;
}

/**
 * Publishes the parts of a copy so that each is stored, whatever the queue does. Several tables and ranges may be sent side by
 * side: together they have no more than a few parts on their way.
 */
export class SnapshotSender {
  private readonly options: SnapshotSenderOptions;
  private readonly unanswered = new Map<string, Unanswered>();
  private readonly unsubscribe: () => void;
  private isRefused = false;
  private patienceMs = patienceMinMs;
  private readonly waiting = new Set<() => void>();

  constructor(options: SnapshotSenderOptions) {
    this.options = options;
    this.unsubscribe = options.wakeUps.subscribe(options.project, (wakeUp) => this.note(wakeUp));
  }

  /** Resolves when the part was published. @throws AppError SCHEMA_RELOADING when one was refused */
  async send(frame: SnapshotFrame, signal: AbortSignal): Promise<void> {
    await this.answered(unansweredMax - 1, signal);
    this.unanswered.set(partKey(`${frame.schema}.${frame.table}`, frame.part), { frame, refusals: 0, isDue: false });
    await this.options.queue.publish(frame, signal);
  }

  /** Resolves when every part is stored. @throws AppError SCHEMA_RELOADING when one was refused */
  async drained(signal: AbortSignal): Promise<void> {
    await this.answered(0, signal);
  }

  close(): void {
    this.unsubscribe();
  }

  /** The queue forgot what it had: everything unanswered is published again without waiting. */
  forgotten(): void {
    this.publishAllAgain();
  }

  /** Waits until at most `count` parts are unanswered, publishing them again when it takes too long. */
  private async answered(count: number, signal: AbortSignal): Promise<void> {
    for (;;) {
      signal.throwIfAborted();
      if (this.isRefused) throw new AppError('SCHEMA_RELOADING', { internal: 'a part of the copy was refused' });
      const due = [...this.unanswered.values()].filter(({ isDue }) => isDue);
      for (const part of due) {
        part.isDue = false;
        await this.options.queue.publish(part.frame, signal);
      }
      if (due.length > 0) continue;
      if (this.unanswered.size <= count) return;
      if (await this.nextAnswer(signal)) continue;
      this.patienceMs = Math.min(2 * this.patienceMs, patienceMaxMs);
      this.publishAllAgain();
    }
  }

  private publishAllAgain(): void {
    for (const part of this.unanswered.values()) part.isDue = true;
    this.wake();
  }

  /** True when something happened, false when it took too long. */
  private async nextAnswer(signal: AbortSignal): Promise<boolean> {
    const waiting = new AbortController();
    let isAnswered = false;
    const answered = (): void => {
      isAnswered = true;
      waiting.abort();
    };
    this.waiting.add(answered);
    await delay(this.options.clock, this.patienceMs, AbortSignal.any([signal, waiting.signal]));
    this.waiting.delete(answered);
    return isAnswered;
  }

  private wake(): void {
    for (const answered of this.waiting) answered();
  }

  private note(wakeUp: WakeUp): void {
    if (wakeUp.kind !== 'snapshot-part') return;
    const key = partKey(wakeUp.table, wakeUp.part);
    const part = this.unanswered.get(key);
    if (!part || !isSameStreams(part.frame, wakeUp.streams)) return;
    if (wakeUp.outcome === 'applied') this.unanswered.delete(key);
    else this.refused(part);
    this.patienceMs = patienceMinMs;
    this.wake();
  }

  /** The answer may be to a part of an older point that was still on its way: it does not say which. */
  private refused(part: Unanswered): void {
    part.refusals++;
    part.isDue = true;
    this.isRefused ||= part.refusals >= refusalsMax;
  }
}

function partKey(table: string, part: number): string {
  return `${part} ${table}`;
}
function isSameStreams(frame: SnapshotFrame, streams: readonly number[]): boolean {
  return frame.streams.length === streams.length && frame.streams.every((stream) => streams.includes(stream));
}

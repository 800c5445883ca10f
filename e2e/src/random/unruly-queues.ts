import type { Queues } from '@sluice/all-in-one';
import { createMemoryOpQueue, createMemoryWakeUps, type Frame, type OpQueue, type WakeUps } from '@sluice/op-queue';
import type { SeededRandom } from '@sluice/testkit';

const BYTES_MAX_PER_SHARD = 16 << 20;
/** Frames that may come again much later. */
const REMEMBERED_MAX = 40;

/**
 * Queues as bad as the laws allow (L3): frames of the stream are lost, repeated, overtaken by the next one and come again
 * long after; parts of a copy are repeated; hints are lost. What they do is a function of `random` and of what they carry.
 */
export function unrulyQueues(random: SeededRandom): UnrulyQueues {
  const queue = new UnrulyQueue(random);
  return { queue, wakeUps: forgetfulWakeUps(random), deeds: () => queue.deeds };
}
export interface UnrulyQueues extends Queues {
  /** How often frames were lost, repeated or late so far: a history without any of it shows nothing. */
  deeds(): number;
}

class UnrulyQueue implements OpQueue {
  deeds = 0;
  readonly #queue = createMemoryOpQueue({ bytesMaxPerShard: BYTES_MAX_PER_SHARD });
  readonly #random: SeededRandom;
  #remembered: Frame[] = [];

  constructor(random: SeededRandom) {
    this.#random = random;
  }

  async publish(frame: Frame, signal: AbortSignal): Promise<void> {
    const random = this.#random;
    if (frame.kind === 'snapshot') return this.#publishTwice(frame, signal, random.chance(0.2));
    if (random.chance(0.03)) {
      this.deeds++;
      this.#remember(frame);
      return;
    }
    if (random.chance(0.1)) await this.#publishRemembered(frame, signal);
    await this.#publishTwice(frame, signal, random.chance(0.1));
    this.#remember(frame);
  }
  async #publishTwice(frame: Frame, signal: AbortSignal, isTwice: boolean): Promise<void> {
    await this.#queue.publish(frame, signal);
    if (!isTwice) return;
    this.deeds++;
    await this.#queue.publish(frame, signal);
  }
  /** One of before, perhaps of another lease, shard map or epoch. */
  async #publishRemembered({ project, shard }: Frame, signal: AbortSignal): Promise<void> {
    const own = this.#remembered.filter((known) => known.project === project && known.shard === shard);
    if (own.length === 0) return;
    this.deeds++;
    await this.#queue.publish(this.#random.pick(own), signal);
  }
  #remember(frame: Frame): void {
    // The replicator may use the buffer again.
    this.#remembered.push({ ...frame, changes: frame.changes.slice() });
    if (this.#remembered.length > REMEMBERED_MAX) this.#remembered.shift();
  }

  take(...args: Parameters<OpQueue['take']>): ReturnType<OpQueue['take']> {
    return this.#queue.take(...args);
  }
  isEmpty(...args: Parameters<OpQueue['isEmpty']>): ReturnType<OpQueue['isEmpty']> {
    return this.#queue.isEmpty(...args);
  }
  clear(...args: Parameters<OpQueue['clear']>): ReturnType<OpQueue['clear']> {
    return this.#queue.clear(...args);
  }
}

function forgetfulWakeUps(random: SeededRandom): WakeUps {
  const wakeUps = createMemoryWakeUps();
  return {
    ...wakeUps,
    publish(wakeUp) {
      if (!random.chance(0.05)) wakeUps.publish(wakeUp);
    },
  };
}

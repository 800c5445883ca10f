import { FAULT_NAMES, type FaultName } from './catalogue.ts';
import type { HistoryOutcome } from './run-fault-history.ts';

interface Count {
  /** Histories that it hit. */
  hit: number;
  /** Histories in which it had no effect; they do not count. */
  missed: number;
}

/** Counts per fault what histories came to, and says so. */
export class FaultTally {
  readonly #counts = new Map<FaultName, Count>();
  #histories = 0;
  #commits = 0;
  #judged = 0;
  #slowestMs = 0;

  /** True when every fault of the history hit, so that it counts. */
  add({ faults, commits, judged, convergedMs }: HistoryOutcome): boolean {
    for (const { name, effect } of faults) {
      const count = this.#counts.get(name) ?? { hit: 0, missed: 0 };
      if (effect === undefined) count.missed++;
      else count.hit++;
      this.#counts.set(name, count);
    }
    if (faults.some(({ effect }) => effect === undefined)) return false;
    this.#histories++;
    this.#commits += commits;
    this.#judged += judged;
    this.#slowestMs = Math.max(this.#slowestMs, convergedMs);
    return true;
  }

  /** Histories that count. */
  get histories(): number {
    return this.#histories;
  }

  text(): string {
    const lines = FAULT_NAMES.flatMap((name) => {
      const count = this.#counts.get(name);
      return count ? [`  ${name.padEnd(26)} hit ${count.hit}, no effect ${count.missed}`] : [];
    });
    const total = `${this.#histories} histories, ${this.#commits} commits, ${this.#judged} states of clients compared`;
    return [`${total}, slowest convergence ${Math.round(this.#slowestMs)} ms`, ...lines].join('\n');
  }
}

import type { Clock } from '@sluice/domain';

/** A clock that stands still until it is advanced. */
export class TestClock implements Clock {
  #now = 1_000_000;
  #last = 0;
  readonly #timers = new Map<number, { readonly at: number; readonly fn: () => void }>();

  nowMs(): number {
    return this.#now;
  }
  monotonicMs(): number {
    return this.#now;
  }
  setTimer(delayMs: number, fn: () => void): () => void {
    const id = ++this.#last;
    this.#timers.set(id, { at: this.#now + delayMs, fn });
    return () => this.#timers.delete(id);
  }
  /** Fires what falls due on the way, in order. */
  advance(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const due = [...this.#timers].filter(([, { at }]) => at <= end).sort(([, a], [, b]) => a.at - b.at)[0];
      if (!due) break;
      const [id, { at, fn }] = due;
      this.#timers.delete(id);
      this.#now = Math.max(this.#now, at);
      fn();
    }
    this.#now = end;
  }
}

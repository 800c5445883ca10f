import { barrierAt, comparePositions, type Lsn, lsnFromBigint, type Position } from '@sluice/domain';

export interface TrackerStart {
  readonly applied: Position;
  /** The last durable barrier's end LSN, and the one's before it; 0 where there is none. */
  readonly barrierEndLsn: Lsn;
  readonly previousBarrierEndLsn: Lsn;
}

interface Waiter {
  readonly lsn: Lsn;
  readonly resolve: () => void;
}

/**
 * What of the published is durable. L2: the source is told the end of the barrier *before* the last durable one, so that the
 * last one comes again after a restart and shows that history is still the same.
 */
export class AppliedTracker {
  private applied: Position;
  private lastEndLsn: Lsn;
  private confirmedLsn: Lsn;
  /** Published and not durable, in order. */
  private readonly pending: { readonly end: Position; readonly endLsn: Lsn }[] = [];
  private readonly waiters = new Set<Waiter>();

  constructor(start: TrackerStart) {
    this.applied = start.applied;
    this.lastEndLsn = start.barrierEndLsn;
    this.confirmedLsn = start.previousBarrierEndLsn;
  }

  get confirmed(): Lsn {
    return this.confirmedLsn;
  }
  get framesInFlight(): number {
    return this.pending.length;
  }
  /** The end of the last frame that was published and is not durable; undefined when all are. */
  get awaited(): Position | undefined {
    return this.pending.at(-1)?.end;
  }
  get position(): Position {
    return this.applied;
  }

  /** @param endLsn end of the commit at `end`; 0 inside a transaction */
  published(end: Position, endLsn: Lsn): void {
    if (comparePositions(end, this.applied) > 0) this.pending.push({ end, endLsn });
  }

  /** The store holds everything up to `position`. */
  moved(position: Position): void {
    if (comparePositions(position, this.applied) <= 0) return;
    this.applied = position;
    for (let frame = this.pending[0]; frame && comparePositions(frame.end, position) <= 0; frame = this.pending[0]) {
      this.pending.shift();
      if (frame.endLsn === ZERO) continue;
      this.confirmedLsn = this.lastEndLsn;
      this.lastEndLsn = frame.endLsn;
    }
    for (const waiter of this.waiters) if (comparePositions(barrierAt(waiter.lsn), position) <= 0) waiter.resolve();
  }

  /** Resolves when the barrier of `lsn` or a later one is durable, or when aborted. */
  reached(lsn: Lsn, signal: AbortSignal): Promise<void> {
    if (signal.aborted || comparePositions(barrierAt(lsn), this.applied) <= 0) return Promise.resolve();
    return new Promise((resolve) => {
      const waiter: Waiter = {
        lsn,
        resolve: () => {
          this.waiters.delete(waiter);
          signal.removeEventListener('abort', waiter.resolve);
          resolve();
        },
      };
      this.waiters.add(waiter);
      signal.addEventListener('abort', waiter.resolve);
    });
  }

  /** The stream starts again at what is durable: what was in flight is forgotten. */
  restart(start: TrackerStart): void {
    this.pending.length = 0;
    this.lastEndLsn = start.barrierEndLsn;
    this.confirmedLsn = start.previousBarrierEndLsn;
    this.moved(start.applied);
  }
}

const ZERO = lsnFromBigint(0n);

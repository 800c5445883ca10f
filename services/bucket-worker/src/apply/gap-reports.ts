import { type Clock, comparePositions, type Position, type ProjectId } from '@sluice/domain';
import type { StreamFrame, WakeUps } from '@sluice/op-queue';
import type { WorkerEvents } from '../events.ts';

/** A gap is told again when it persists this long: the wake-up may have been lost. */
const REPEAT_MS = 1_000;

/** Tells the replicator that frames are missing: once per place, since all that are still queued begin beyond it too. */
export class GapReports {
  private readonly options: {
    readonly project: ProjectId;
    readonly shard: number;
    readonly wakeUps: WakeUps;
    readonly clock: Clock;
    readonly events: WorkerEvents;
  };
  private last: { readonly applied: Position; readonly atMs: number } | undefined;

  constructor(options: GapReports['options']) {
    this.options = options;
  }

  report(frame: StreamFrame, applied: Position): void {
    const { project, shard, wakeUps, clock, events } = this.options;
    const nowMs = clock.monotonicMs();
    const isKnown = this.last !== undefined && comparePositions(this.last.applied, applied) === 0;
    if (isKnown && nowMs - (this.last?.atMs ?? 0) < REPEAT_MS) return;
    this.last = { applied, atMs: nowMs };
    events.gap(project, { applied, prev: frame.prev });
    wakeUps.publish({ kind: 'gap', project, epoch: frame.epoch, shard });
  }
}

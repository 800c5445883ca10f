import type { ApplyOutcome, BucketStore } from '@sluice/bucket-store';
import {
  type Clock,
  comparePositions,
  type Epoch,
  type Position,
  type ProjectId,
  type ShardLeaseToken,
} from '@sluice/domain';
import { assert, isAppError, unreachable } from '@sluice/errors';
import type { Frame, SnapshotFrame, StreamFrame, TakenFrame, WakeUps } from '@sluice/op-queue';
import type { WorkerEvents } from '../events.ts';
import { Announcements } from './announcements.ts';
import { commitOutcome, frameCommit, snapshotCommit } from './commit.ts';
import { type EpochState, loadEpoch } from './epoch-state.ts';
import type { FrameResult } from './evaluate-frame.ts';
import { GapReports } from './gap-reports.ts';
import { retryStore } from './retry-store.ts';
import { SchemaWait } from './schema-wait.ts';
import { stopProject } from './stop-project.ts';

/** A frame is evaluated anew when streams or the applied position moved; more often than this in a row is a bug. */
const EVALUATIONS_MAX = 20;

export interface ShardApplierOptions {
  readonly project: ProjectId;
  readonly shard: number;
  readonly shardLeaseToken: ShardLeaseToken;
  readonly store: BucketStore;
  readonly wakeUps: WakeUps;
  readonly clock: Clock;
  readonly events: WorkerEvents;
}

/** A frame's result, and what it was evaluated from. */
export interface Evaluated {
  readonly state: EpochState;
  readonly before: Position;
  readonly result: FrameResult;
}

/**
 * Applies the frames of one shard (L3). A frame may be evaluated while the one before it is being committed, on the guess
 * that that one will be applied; if it was not, the frame is evaluated again when its turn has come.
 */
export class ShardApplier {
  private readonly options: ShardApplierOptions;
  private readonly signal: AbortSignal;
  private readonly announcements: Announcements;
  private readonly gaps: GapReports;
  private readonly schemaWait: SchemaWait;
  private readonly unsubscribe: () => void;
  private state: EpochState | undefined;
  /** Streams or holds changed since `state` was read. */
  private isStale = true;
  /** How far the shard will be applied when the frame under way succeeds. */
  private expected: Position | undefined;

  /** Waits for the store and for schemas end with the signal. */
  constructor(options: ShardApplierOptions, signal: AbortSignal) {
    this.options = options;
    this.signal = signal;
    this.announcements = new Announcements(options.project, options.wakeUps);
    this.gaps = new GapReports(options);
    this.schemaWait = new SchemaWait(options, signal);
    this.unsubscribe = options.wakeUps.subscribe(options.project, (wakeUp) => {
      if (wakeUp.kind !== 'streams') return;
      this.isStale = true;
      this.schemaWait.wake();
    });
  }

  close(): void {
    this.unsubscribe();
  }

  /** Evaluates the frame as if the one under way were applied; undefined when that cannot be told yet, or it fails. */
  prepare(frame: Frame): Evaluated | undefined {
    const { state } = this;
    if (!state || this.isStale || state.epoch !== frame.epoch) return undefined;
    const before = this.expected ?? state.applied;
    if (frame.kind === 'stream' && !isNext(frame, before)) return undefined;
    try {
      return { state, before, result: evaluate(state, frame, before) };
    } catch {
      // It is evaluated again when its turn has come, and fails then: the frames before it are applied first.
      return undefined;
    }
  }

  /**
   * Resolves when the frame is applied, skipped or refused, or the signal is aborted.
   * @throws AppError STORE_FENCED when another worker has the shard; the frame is left to it
   * @throws what stopped the shard (L17); it was logged, and recorded as the project's condition
   */
  async apply(taken: TakenFrame, prepared: Evaluated | undefined): Promise<void> {
    const { frame } = taken;
    this.expected = frame.kind === 'stream' ? frame.end : this.state?.applied;
    try {
      await this.bringToEnd(taken, prepared);
    } catch (error) {
      if (this.signal.aborted) return;
      if (isAppError(error, 'STORE_FENCED')) throw error;
      this.options.events.failed(this.options.project, error);
      await stopProject(this.options.store, frame, error);
      throw error;
    } finally {
      this.expected = undefined;
    }
  }

  private async bringToEnd(taken: TakenFrame, prepared: Evaluated | undefined): Promise<void> {
    const { frame } = taken;
    let evaluated = prepared;
    try {
      for (let attempt = 0; attempt < EVALUATIONS_MAX; ) {
        if (this.isStale || this.state?.epoch !== frame.epoch) await this.reload(frame.epoch);
        const { state } = this;
        if (!state) return this.drop(taken);
        if (frame.kind === 'stream' && comparePositions(frame.end, state.applied) <= 0) return taken.done();
        if (frame.kind === 'stream' && !isNext(frame, state.applied))
          return this.refuseGap(taken, frame, state.applied);
        if (!evaluated || !isOf(evaluated, state)) {
          evaluated?.result.release();
          evaluated = { state, before: state.applied, result: evaluate(state, frame, state.applied) };
        }
        const end = await this.commit(taken, evaluated);
        if (end === 'ended') return;
        // A schema may take as long to be put right as the source is out of reach.
        if (end === 'again') attempt++;
      }
    } finally {
      evaluated?.result.release();
    }
    assert(false, 'a frame finds the streams and the position that it was evaluated for');
  }

  /** Whether the frame has come to its end, one way or another, must be evaluated again, or waited for its schema. */
  private async commit(taken: TakenFrame, evaluated: Evaluated): Promise<'ended' | 'again' | 'waited'> {
    const { frame } = taken;
    const { mismatches } = evaluated.result;
    if (frame.kind === 'snapshot') {
      await this.commitSnapshot(taken, frame, evaluated);
      return 'ended';
    }
    if (mismatches.length === 0 || evaluated.state.held)
      return (await this.isCommitted(taken, frame, evaluated)) ? 'ended' : 'again';
    await this.schemaWait.wait(mismatches);
    this.isStale = true;
    return 'waited';
  }

  /** False when streams or the applied position are others than the frame was evaluated for. */
  private async isCommitted(taken: TakenFrame, frame: StreamFrame, evaluated: Evaluated): Promise<boolean> {
    const { store, clock, events, project, shardLeaseToken } = this.options;
    const { state, before, result } = evaluated;
    const begunMs = clock.monotonicMs();
    const commit = frameCommit(frame, shardLeaseToken, { streams: state.evaluator.streams, before, result });
    const outcome = await this.untilAnswered(() => commitOutcome(store.applyFrame(commit)));
    switch (outcome.kind) {
      case 'fenced':
        this.drop(taken);
        return true;
      case 'gap':
        this.isStale = true;
        return false;
      case 'skipped':
        // Most likely our own commit whose answer got lost, so what it changed is told.
        this.isStale = true;
        break;
      case 'applied':
        state.applied = frame.end;
        break;
      default:
        return unreachable(outcome);
    }
    this.schemaWait.reset();
    this.announcements.collect(result);
    taken.done();
    events.applied({ rows: result.rows, chunks: result.chunks.length, durationMs: clock.monotonicMs() - begunMs });
    events.issues(project, result.issues);
    await this.announce(frame, outcome);
    return true;
  }

  private async announce(frame: StreamFrame, outcome: ApplyOutcome): Promise<void> {
    const { project, shard, wakeUps, store } = this.options;
    wakeUps.publish({ kind: 'applied', project, epoch: frame.epoch, shard, position: frame.end });
    if (outcome.kind === 'applied') {
      if (outcome.checkpoint) this.announcements.checkpoint(outcome.checkpoint, outcome.previousLsn);
      return;
    }
    const checkpoint = await this.untilAnswered(() => store.readCheckpoint(project));
    if (checkpoint?.epoch === frame.epoch) this.announcements.checkpoint(checkpoint, frame.prev.lsn);
  }

  private async commitSnapshot(taken: TakenFrame, frame: SnapshotFrame, evaluated: Evaluated): Promise<void> {
    const { store, events, project, wakeUps, shardLeaseToken } = this.options;
    const { state, result } = evaluated;
    const isKnown = frame.streams.every((stream) => state.evaluator.streams.includes(stream));
    const commit = snapshotCommit(frame, shardLeaseToken, result);
    const outcome =
      isKnown && result.mismatches.length === 0
        ? await this.untilAnswered(() => commitOutcome(store.applySnapshotPart(commit)))
        : 'refused';
    const isRefused = typeof outcome === 'object' || outcome === 'refused';
    taken.done();
    if (!isRefused) events.issues(project, result.issues);
    const { streams, part } = frame;
    const told = isRefused ? ('refused' as const) : ('applied' as const);
    wakeUps.publish({ kind: 'snapshot-part', project, streams, table: commit.table, part, outcome: told });
  }

  private async reload(epoch: Epoch): Promise<void> {
    const { store, project, shard } = this.options;
    this.isStale = false;
    const known = this.state?.epoch === epoch ? this.state : undefined;
    this.state = await this.untilAnswered(() => loadEpoch(store, project, { epoch, shard, known }));
  }

  /** A frame of a former lease or epoch: whoever holds it now streams again what was not applied. */
  private drop(taken: TakenFrame): void {
    this.isStale = true;
    this.options.events.fenced(this.options.project);
    taken.done();
  }

  private refuseGap(taken: TakenFrame, frame: StreamFrame, applied: Position): void {
    taken.done();
    this.gaps.report(frame, applied);
    // The applied position may be another's doing; the next frame looks again.
    this.isStale = true;
  }

  private untilAnswered<T>(call: () => Promise<T>): Promise<T> {
    const { clock, events, project } = this.options;
    return retryStore(call, {
      clock,
      signal: this.signal,
      onRetry: (retry) => events.storeUnavailable(project, retry),
    });
  }
}

function evaluate(state: EpochState, frame: Frame, before: Position): FrameResult {
  return frame.kind === 'stream' ? state.evaluator.evaluate(frame, before) : state.evaluator.evaluateSnapshot(frame);
}

/** Whether the frame goes on from the position: it does not begin beyond it, and ends beyond it. */
function isNext(frame: StreamFrame, applied: Position): boolean {
  return comparePositions(frame.prev, applied) <= 0 && comparePositions(frame.end, applied) > 0;
}

function isOf(evaluated: Evaluated, state: EpochState): boolean {
  return evaluated.state === state && comparePositions(evaluated.before, state.applied) === 0;
}

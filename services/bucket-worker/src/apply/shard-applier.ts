import type { ApplyOutcome, BucketStore, FrameCommit } from '@sluice/bucket-store';
import {
  type Clock,
  comparePositions,
  type Epoch,
  isBarrier,
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
import type { KnownRows } from './row-state/frame-states.ts';
import type { RowLookups } from './row-state/row-lookups.ts';
import { RowStateReader } from './row-state/row-state-reader.ts';
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
/** What became of a frame; only `ended` is the end of it. */
type FrameEnd = 'ended' | 'again' | 'waited' | 'piece';
/** A frame of tables that keep row states waits for these; undefined when it could not be evaluated ahead. */
export type Prepared = Evaluated | Promise<Evaluated | undefined>;

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
  private readonly rowStates: RowStateReader;
  /** The stream frame under way, once it is evaluated whole. */
  private underWay: Deferred<Evaluated | undefined> | undefined;

  /** Waits for the store and for schemas end with the signal. */
  constructor(options: ShardApplierOptions, signal: AbortSignal) {
    this.options = options;
    this.signal = signal;
    this.announcements = new Announcements(options);
    this.gaps = new GapReports(options);
    this.schemaWait = new SchemaWait(options, signal);
    this.rowStates = new RowStateReader(options);
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
  prepare(frame: Frame): Prepared | undefined {
    const { state } = this;
    if (!state || this.isStale || state.epoch !== frame.epoch) return undefined;
    const before = this.expected ?? state.applied;
    if (frame.kind === 'stream' && !isNext(frame, before)) return undefined;
    try {
      const lookups = state.evaluator.lookups(frame, before);
      if (!lookups) return { state, before, result: evaluate(state, frame, before) };
      return frame.kind === 'stream' ? this.prepareWithStates(state, frame, before, lookups) : undefined;
    } catch {
      // It is evaluated again when its turn has come, and fails then: the frames before it are applied first.
      return undefined;
    }
  }

  /** Reads the states while the frame before is committed, and lays over them what that one does to them. */
  private async prepareWithStates(
    state: EpochState,
    frame: StreamFrame,
    before: Position,
    lookups: RowLookups,
  ): Promise<Evaluated | undefined> {
    const { underWay } = this;
    try {
      const previous = await underWay?.promise;
      if (underWay && (!previous || previous.state !== state)) return undefined;
      const appliedAt = previous ? [previous.before, before] : [before];
      const pending = previous?.result.rowStates?.changes;
      const known = await this.rowStates.read(lookups, { epoch: state.epoch, pending, appliedAt });
      return known && { state, before, result: state.evaluator.evaluate(frame, before, known) };
    } catch {
      return undefined;
    }
  }

  /**
   * Resolves when the frame is applied, skipped or refused, or the signal is aborted.
   * @throws AppError STORE_FENCED when another worker has the shard; the frame is left to it
   * @throws what stopped the shard (L17); it was logged, and recorded as the project's condition
   */
  async apply(taken: TakenFrame, prepared: Prepared | undefined): Promise<void> {
    const { frame } = taken;
    const underWay = new Deferred<Evaluated | undefined>();
    this.underWay = underWay;
    this.expected = frame.kind === 'stream' ? frame.end : this.state?.applied;
    try {
      await this.bringToEnd(taken, await prepared);
    } catch (error) {
      if (this.signal.aborted) return;
      if (isAppError(error, 'STORE_FENCED')) throw error;
      this.options.events.failed(this.options.project, error);
      await stopProject(this.options.store, frame, error);
      throw error;
    } finally {
      this.expected = undefined;
      this.underWay = undefined;
      underWay.resolve(undefined);
    }
  }

  private async bringToEnd(taken: TakenFrame, prepared: Evaluated | undefined): Promise<void> {
    const { frame } = taken;
    let evaluated = prepared;
    try {
      for (let attempt = 0; attempt < EVALUATIONS_MAX; ) {
        if (this.isStale || !isStateFor(this.state, frame)) await this.reload(frame.epoch);
        const { state } = this;
        if (!state) return this.drop(taken);
        if (frame.kind === 'stream' && comparePositions(frame.end, state.applied) <= 0) return taken.done();
        if (frame.kind === 'stream' && !isNext(frame, state.applied))
          return this.refuseGap(taken, frame, state.applied);
        if (!evaluated || !isOf(evaluated, state, this.rowStates.revision)) {
          evaluated?.result.release();
          evaluated = await this.evaluated(state, frame);
          if (!evaluated) {
            attempt++;
            continue;
          }
        }
        if (frame.kind === 'stream' && !evaluated.result.end) this.underWay?.resolve(evaluated);
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

  /** Evaluates the frame in its turn; undefined when the store has moved on. */
  private async evaluated(state: EpochState, frame: Frame): Promise<Evaluated | undefined> {
    const before = state.applied;
    const lookups = state.evaluator.lookups(frame, before);
    if (!lookups) return { state, before, result: evaluate(state, frame, before) };
    const from = { epoch: state.epoch, pending: undefined, appliedAt: [before] };
    const known = await this.untilAnswered(() => commitOutcome(this.rowStates.read(lookups, from)));
    if (known && !('kind' in known)) return { state, before, result: evaluate(state, frame, before, known) };
    this.isStale = true;
    return undefined;
  }

  /** Whether the frame has come to its end, one way or another, must be evaluated again, or waited for its schema. */
  private async commit(taken: TakenFrame, evaluated: Evaluated): Promise<FrameEnd> {
    const { frame } = taken;
    const { mismatches } = evaluated.result;
    if (frame.kind === 'snapshot') return this.commitSnapshot(taken, frame, evaluated);
    if (mismatches.length === 0 || evaluated.state.held) return this.commitFrame(taken, frame, evaluated);
    await this.schemaWait.wait(mismatches);
    this.isStale = true;
    return 'waited';
  }

  /**
   * `again` when streams, states or the applied position are others than the frame was evaluated for; `piece` when there
   * were states for a piece of it alone, and the next one begins where that ended.
   */
  private async commitFrame(taken: TakenFrame, frame: StreamFrame, evaluated: Evaluated): Promise<FrameEnd> {
    const { store, clock, events, project, shardLeaseToken } = this.options;
    const { state, before, result } = evaluated;
    const begunMs = clock.monotonicMs();
    const commit = frameCommit(frame, shardLeaseToken, { streams: state.evaluator.streams, before, result });
    this.announcements.collect(commit, result);
    const isPart = state.shards > 1 && isBarrier(commit.end);
    if (isPart) this.announcements.tellPart(frame.epoch, commit.end.lsn);
    const outcome = await this.untilAnswered(() => commitOutcome(store.applyFrame(commit)));
    switch (outcome.kind) {
      case 'fenced':
        this.drop(taken);
        return 'ended';
      case 'gap':
        this.isStale = true;
        return 'again';
      case 'skipped':
        // Most likely our own commit whose answer got lost, so what it changed is told.
        this.isStale = true;
        break;
      case 'applied':
        state.applied = commit.end;
        if (result.rowStates) this.rowStates.committed('stream', result.rowStates.changes);
        break;
      default:
        return unreachable(outcome);
    }
    this.schemaWait.reset();
    this.announcements.applied(commit.end);
    if (isPart) this.announcements.partApplied(commit.end.lsn);
    if (!result.end) taken.done();
    events.applied({ rows: result.rows, chunks: result.chunks.length, durationMs: clock.monotonicMs() - begunMs });
    events.issues(project, result.issues);
    await this.announce(commit, state.shards, outcome);
    return result.end ? 'piece' : 'ended';
  }

  private async announce(commit: FrameCommit, shards: number, outcome: ApplyOutcome): Promise<void> {
    const { epoch, prev, end } = commit;
    const { project, shard, wakeUps, store } = this.options;
    wakeUps.publish({ kind: 'applied', project, epoch, shard, position: end });
    if (outcome.kind === 'applied') {
      const { checkpoint, previousLsn } = outcome;
      // The store took the frame since these are the streams in use.
      if (checkpoint) this.announcements.checkpoint({ checkpoint, previousLsn, shards, inUse: commit.streams });
      return;
    }
    const checkpoint = await this.untilAnswered(() => store.readCheckpoint(project));
    const reached = { previousLsn: prev.lsn, shards, inUse: undefined };
    if (checkpoint?.epoch === epoch) this.announcements.checkpoint({ checkpoint, ...reached });
  }

  private async commitSnapshot(
    taken: TakenFrame,
    frame: SnapshotFrame,
    evaluated: Evaluated,
  ): Promise<'ended' | 'again'> {
    const { store, events, project, wakeUps, shardLeaseToken } = this.options;
    const { state, result } = evaluated;
    const isKnown = frame.streams.every((stream) => state.evaluator.streams.includes(stream));
    const commit = snapshotCommit(frame, shardLeaseToken, evaluated);
    const outcome =
      isKnown && result.mismatches.length === 0
        ? await this.untilAnswered(() => commitOutcome(store.applySnapshotPart(commit)))
        : 'refused';
    if (outcome === 'stale') {
      this.isStale = true;
      return 'again';
    }
    if (outcome === 'applied' && result.rowStates) this.rowStates.committed('snapshot', result.rowStates.changes);
    const isRefused = typeof outcome === 'object' || outcome === 'refused';
    taken.done();
    if (!isRefused) events.issues(project, result.issues);
    const { streams, part } = frame;
    const told = isRefused ? ('refused' as const) : ('applied' as const);
    wakeUps.publish({ kind: 'snapshot-part', project, streams, table: commit.table, part, outcome: told });
    return 'ended';
  }

  private async reload(epoch: Epoch): Promise<void> {
    const { store, project, shard } = this.options;
    this.isStale = false;
    this.rowStates.forget();
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

function evaluate(state: EpochState, frame: Frame, before: Position, known?: KnownRows): FrameResult {
  return frame.kind === 'stream'
    ? state.evaluator.evaluate(frame, before, known)
    : state.evaluator.evaluateSnapshot(frame, known);
}

/** A promise that somebody else resolves. */
class Deferred<T> {
  readonly promise: Promise<T>;
  resolve: (value: T) => void = () => {};

  constructor() {
    this.promise = new Promise((resolve) => {
      this.resolve = resolve;
    });
  }
}

/** Whether the frame goes on from the position: it does not begin beyond it, and ends beyond it. */
function isNext(frame: StreamFrame, applied: Position): boolean {
  return comparePositions(frame.prev, applied) <= 0 && comparePositions(frame.end, applied) > 0;
}

/** A state of another shard map may not know how many shards there are. */
function isStateFor(state: EpochState | undefined, frame: Frame): boolean {
  return state?.epoch === frame.epoch && (frame.kind === 'snapshot' || state.mapVersion === frame.mapVersion);
}

function isOf(evaluated: Evaluated, state: EpochState, revision: bigint | undefined): boolean {
  const { rowStates } = evaluated.result;
  if (evaluated.state !== state || comparePositions(evaluated.before, state.applied) !== 0) return false;
  return rowStates === undefined || rowStates.revision === revision;
}

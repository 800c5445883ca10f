import type { BucketStore } from '@sluice/bucket-store';
import {
  type BucketId,
  type Clock,
  comparePositions,
  delay,
  type Epoch,
  isBarrier,
  type LookupId,
  type Position,
  type ProjectId,
  type StreamNo,
} from '@sluice/domain';
import { AppError, isAppError } from '@sluice/errors';
import type { Frame, SnapshotFrame, StreamFrame, WakeUps } from '@sluice/op-queue';
import type { WorkerEvents } from '../events.ts';
import { type EvaluatedFrame, FrameEvaluator } from './frame-evaluator.ts';

const RETRY_FIRST_MS = 50;
const RETRY_MAX_MS = 5000;
/** A commit that the store calls stale is evaluated again; more often than this means that somebody else applies, too. */
const STALE_TRIES_MAX = 5;

export interface ShardApplierOptions {
  readonly store: BucketStore;
  readonly wakeUps: WakeUps;
  readonly clock: Clock;
  readonly events: WorkerEvents;
  readonly project: ProjectId;
  readonly shard: number;
}

/** A frame that is evaluated and waits for the commit before it. */
export interface PreparedFrame {
  readonly frame: Frame;
  readonly context: ShardContext | undefined;
  readonly evaluated: EvaluatedFrame | undefined;
  /** The applied position that the evaluation counted on. */
  readonly applied: Position | undefined;
}

/** What the worker knows of the epoch: read from the store, dropped whenever the store disagrees. */
interface ShardContext {
  readonly epoch: Epoch;
  readonly evaluators: readonly FrameEvaluator[];
  applied: Position;
  turn: number;
}

/**
 * Evaluates and commits the frames of one shard, in order (L3). Evaluating a frame may run while the one before it
 * commits: two evaluators take turns, so that the bytes of one are at rest until its commit has settled.
 */
export class ShardApplier {
  readonly #options: ShardApplierOptions;
  #context: ShardContext | undefined;
  readonly #changed = { buckets: new Set<BucketId>(), lookups: new Set<LookupId>(), truncated: new Set<StreamNo>() };
  readonly #unsubscribe: () => void;

  constructor(options: ShardApplierOptions) {
    this.#options = options;
    this.#unsubscribe = options.wakeUps.subscribe(options.project, (wakeUp) => {
      if (wakeUp.kind === 'streams') this.#context = undefined;
    });
  }

  close(): void {
    this.#unsubscribe();
  }

  /** Evaluates a frame against what is expected to be applied by the time it commits. */
  async prepare(frame: Frame, signal: AbortSignal): Promise<PreparedFrame> {
    const context = await this.#contextOf(frame.epoch, signal);
    if (!context) return { frame, context, evaluated: undefined, applied: undefined };
    const applied = context.applied;
    if (frame.kind === 'stream') {
      if (comparePositions(frame.prev, applied) > 0 || comparePositions(frame.end, applied) <= 0)
        return { frame, context, evaluated: undefined, applied };
      context.applied = frame.end;
    }
    const evaluated = evaluatorOf(context).evaluate(frame, applied);
    return { frame, context, evaluated, applied };
  }

  /** Commits a prepared frame. Resolves when it is applied, skipped or refused; rejects when the project must stop (L17). */
  async commit(prepared: PreparedFrame, signal: AbortSignal): Promise<void> {
    try {
      if (prepared.frame.kind === 'snapshot') await this.#commitCopy(prepared.frame, prepared, signal);
      else await this.#commitStream(prepared.frame, prepared, signal);
    } catch (error) {
      this.#context = undefined;
      if (signal.aborted) return;
      if (!isAppError(error, 'STORE_FENCED')) throw error;
      // The holder of the lease has changed: its frames come by themselves.
      this.#options.events.fenced(this.#options.project, prepared.frame.epoch);
      if (prepared.frame.kind === 'snapshot') this.#publishPart(prepared.frame, 'refused');
    }
  }

  async #commitStream(frame: StreamFrame, prepared: PreparedFrame, signal: AbortSignal): Promise<void> {
    let current = prepared;
    for (let attempt = 0; attempt < STALE_TRIES_MAX; attempt++) {
      if (attempt > 0 || this.#context !== current.context || !current.context) {
        this.#context = undefined;
        current = await this.prepare(frame, signal);
      }
      const { context, evaluated, applied } = current;
      if (!context || !applied) return this.#refuse(frame);
      if (!evaluated) return comparePositions(frame.end, applied) <= 0 ? undefined : this.#refuse(frame);
      await this.#checkMismatch(evaluated, signal);
      const startMs = this.#options.clock.monotonicMs();
      const outcome = await this.#retrying(signal, () =>
        this.#options.store.applyFrame({ ...frame, ...evaluated, appliedBefore: applied }),
      );
      if (outcome.kind === 'gap') {
        if (comparePositions(frame.prev, outcome.applied) > 0) return this.#refuse(frame);
        continue;
      }
      if (outcome.kind === 'applied') {
        this.#remember(evaluated);
        this.#options.events.applied(frame, evaluated, this.#options.clock.monotonicMs() - startMs);
        this.#publishApplied(frame, outcome);
      }
      return;
    }
    this.#refuse(frame);
  }

  async #commitCopy(frame: SnapshotFrame, prepared: PreparedFrame, signal: AbortSignal): Promise<void> {
    const fresh = prepared.evaluated ? prepared : await this.prepare(frame, signal);
    const { evaluated } = fresh;
    if (!evaluated) return this.#publishPart(frame, 'refused');
    await this.#checkMismatch(evaluated, signal);
    const { chunks, memberships, issues } = evaluated;
    await this.#retrying(signal, () =>
      this.#options.store.applySnapshotPart({
        ...frame,
        table: `${frame.schema}.${frame.table}`,
        chunks,
        memberships,
        issues,
      }),
    );
    this.#publishPart(frame, 'applied');
  }

  /** Rows of a changed table are left out only while checkpoints are held, when a new generation replaces the stream. */
  async #checkMismatch(evaluated: EvaluatedFrame, signal: AbortSignal): Promise<void> {
    if (evaluated.mismatched.length === 0) return;
    const source = await this.#retrying(signal, () => this.#options.store.readSource(this.#options.project));
    const epoch = source?.building ?? source?.serving;
    if (!epoch?.held) throw new AppError('SCHEMA_CHANGED', { details: { streams: evaluated.mismatched.map(String) } });
  }

  #remember(evaluated: EvaluatedFrame): void {
    for (const { bucket } of evaluated.buckets) this.#changed.buckets.add(bucket);
    for (const { lookup } of evaluated.memberships) this.#changed.lookups.add(lookup);
    for (const { stream } of evaluated.truncates) this.#changed.truncated.add(stream);
  }

  #publishApplied(
    frame: StreamFrame,
    outcome: Extract<Awaited<ReturnType<BucketStore['applyFrame']>>, { kind: 'applied' }>,
  ): void {
    const { wakeUps, project, shard } = this.#options;
    wakeUps.publish({ kind: 'applied', project, epoch: frame.epoch, shard, position: frame.end });
    if (outcome.checkpoint) {
      const { buckets, lookups, truncated } = this.#changed;
      wakeUps.publish({
        kind: 'checkpoint',
        project,
        checkpoint: outcome.checkpoint,
        previousLsn: outcome.previousLsn,
        buckets: [...buckets],
        lookups: [...lookups],
        truncated: [...truncated],
      });
    }
    // A held barrier's changes are announced with the stream switch, which everybody reads anew.
    if (outcome.checkpoint || isBarrier(frame.end)) for (const set of Object.values(this.#changed)) set.clear();
  }

  #publishPart(frame: SnapshotFrame, outcome: 'applied' | 'refused'): void {
    const { wakeUps, project } = this.#options;
    const { streams, part } = frame;
    wakeUps.publish({
      kind: 'snapshot-part',
      project,
      streams,
      table: `${frame.schema}.${frame.table}`,
      part,
      outcome,
    });
  }

  #refuse(frame: StreamFrame): void {
    const { wakeUps, project, shard, events } = this.#options;
    this.#context = undefined;
    events.refused(project, frame);
    wakeUps.publish({ kind: 'gap', project, epoch: frame.epoch, shard });
  }

  async #contextOf(epoch: Epoch, signal: AbortSignal): Promise<ShardContext | undefined> {
    if (this.#context?.epoch === epoch) return this.#context;
    const { store, project, shard } = this.#options;
    const [source, streams] = await this.#retrying(signal, () =>
      Promise.all([store.readSource(project), store.readStreams(project)]),
    );
    const record = [source?.building, source?.serving].find((candidate) => candidate?.epoch === epoch);
    const state = record?.shards.find((candidate) => candidate.shard === shard);
    if (!state) return undefined;
    const inUse = streams.filter((stream) => stream.epoch === epoch && stream.droppedAfter === undefined);
    const context = {
      epoch,
      applied: state.applied,
      turn: 0,
      evaluators: [new FrameEvaluator(inUse), new FrameEvaluator(inUse)],
    };
    this.#context = context;
    return context;
  }

  /** Waits out a store that does not answer: nothing is skipped, the queue fills and the source waits (L16). */
  async #retrying<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    for (let waitMs = RETRY_FIRST_MS; ; waitMs = Math.min(waitMs * 2, RETRY_MAX_MS)) {
      try {
        return await work();
      } catch (error) {
        if (signal.aborted || !isAppError(error, 'STORE_UNAVAILABLE')) throw error;
        this.#options.events.storeUnavailable(this.#options.project, error, waitMs);
        await delay(this.#options.clock, waitMs, signal);
        if (signal.aborted) throw error;
      }
    }
  }
}

function evaluatorOf(context: ShardContext): FrameEvaluator {
  context.turn = 1 - context.turn;
  return context.evaluators[context.turn] as FrameEvaluator; // There are two, and turn is 0 or 1.
}

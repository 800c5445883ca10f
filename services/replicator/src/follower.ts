import type { EpochRecord, StreamRecord } from '@sluice/bucket-store';
import {
  comparePositions,
  delay,
  isBarrier,
  type LeaseToken,
  type Lsn,
  type Position,
  type ProjectId,
} from '@sluice/domain';
import { AppError, isAppError } from '@sluice/errors';
import type { RelationMessage } from '@sluice/pgoutput';
import type { SourceConnection } from '@sluice/source-connection';
import type { SourceTable, StreamPlan } from '@sluice/sync-rules';
import { ACTIVATION, type AssembledFrame } from './assemble/assembler.ts';
import type { Dependencies } from './dependencies.ts';
import { findReshaped, isReshapedSince } from './find-reshaped.ts';
import { Backoff } from './progress/backoff.ts';
import { ShardsTracker } from './progress/shards-tracker.ts';
import { type StartPoint, startPointOf } from './progress/start-point.ts';
import { runTogether } from './run-together.ts';
import { StreamBook } from './schema/stream-book.ts';
import { type Resharding, ShardedPublisher } from './sharded-publisher.ts';
import { openSession, type SourceSession } from './source/connection.ts';
import { emitMessage, HEARTBEAT } from './source/heartbeat.ts';
import { quoteTable, tableKey } from './source/quote.ts';
import { readServerFacts } from './source/server-facts.ts';
import type { TableShapes } from './source/table-shapes.ts';
import { checkStart, watchSource } from './start-check.ts';
import { StreamRun } from './stream-run.ts';

export interface FollowerOptions {
  readonly dependencies: Dependencies;
  readonly project: ProjectId;
  readonly token: LeaseToken;
  readonly epoch: EpochRecord;
  /** The generations of the epoch that are in use. */
  readonly streams: readonly StreamRecord[];
  /** The first byte of a new connection arrived, or the connection failed and is tried again. */
  readonly connected: () => void;
  readonly disconnected: (error: unknown) => void;
  /** A table is described differently, or again: the catalog should be asked whether the rules still mean the same. */
  readonly tableTouched: () => void;
  /** Streams can no longer read this table, as `schema.table`: checkpoints are held, and it must be copied again. */
  readonly tableVoided: (table: string) => void;
  readonly queueCleared: () => void;
  /** How much WAL the slot keeps, in bytes, when that is near a bound; undefined when it is not any more. */
  readonly walLow: (retainedBytes: number | undefined) => void;
  /** A row of the table is too large to be synced. */
  readonly rowLeftOut: (table: string) => void;
  /** Whether the end that was asked for leaves the lease to somebody else in order, and nothing is wrong. */
  readonly isHandedOver: () => boolean;
}

interface Connection {
  readonly run: StreamRun;
  readonly session: SourceSession;
}

interface Activation {
  readonly name: string;
  readonly run: (commitLsn: Lsn) => Promise<void>;
}

/** Of a message larger than this only the first bytes are kept. Several of the largest rows fit into one. */
const messageBytesMax = 64 << 20;
/** Wake-ups may be lost: the store is asked this often while something is on its way. */
const appliedPollMs = 500;
/** Looks this often whether a stream that is handed over has anything on its way. */
const drainCheckMs = 10;
/** A frame may be refused again at once; the stream does not begin anew more often than this. */
const gapPauseMs = 50;
/** A deployment waits for a lost connection to come back this long. */
const connectionWaitMs = 10_000;
const connectionPollMs = 20;
/** Codes after which an epoch cannot go on: whoever runs the follower begins a new one. */
export const ENDS_EPOCH: ReadonlySet<string> = new Set([
  'SLOT_LOST',
  'SOURCE_HISTORY_CHANGED',
  'PUBLICATION_CHANGED',
  'SCHEMA_RELOADING',
  'SOURCE_ROW_OVERSIZED',
]);

/**
 * Follows one epoch's slot: streams from where the store stands, confirms what is durable (L2), keeps an idle source moving,
 * and connects again for as long as history allows it.
 */
export class Follower {
  private readonly options: FollowerOptions;
  private readonly tracker: ShardsTracker;
  private readonly publisher: ShardedPublisher;
  /** The streams of the epoch, those included that are being added. */
  readonly streams: StreamBook;
  private activation: Activation | undefined;
  private copiedForAdded: TableShapes = {};
  private isShapeCheckWaiting = false;
  private turn: Promise<void> = Promise.resolve();
  private everyCommitUntil: Lsn | 'unknown' | undefined;
  private current: Connection | undefined;
  private lastBarrierMs = 0;

  constructor(options: FollowerOptions) {
    this.options = options;
    this.streams = new StreamBook(options.streams);
    this.tracker = new ShardsTracker(options.epoch.shards);
    this.publisher = new ShardedPublisher({
      ...options,
      tracker: this.tracker,
      readEpoch: () => this.readEpoch(),
    });
  }

  /**
   * Streams until aborted. @throws AppError with a code that calls for a new epoch, for a person, or for giving up the lease
   */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, tuning, events, wakeUps, random } = this.options.dependencies;
    const backoff = new Backoff(tuning.reconnectFirstMs, tuning.reconnectMaxMs, random);
    const unsubscribe = wakeUps.subscribe(this.options.project, (wakeUp) => {
      if (wakeUp.kind !== 'applied' || wakeUp.epoch !== this.options.epoch.epoch) return;
      this.moved(wakeUp.shard, wakeUp.position);
    });
    try {
      while (!signal.aborted) {
        try {
          await this.streamOnce(signal, () => backoff.reset());
        } catch (error) {
          if (signal.aborted) return;
          if (isAppError(error, 'STORE_GAP')) {
            await delay(clock, gapPauseMs, signal);
            continue;
          }
          if (!isAppError(error) || ENDS_EPOCH.has(error.code) || error.definition.retry !== 'retry') throw error;
          const waitMs = backoff.nextMs();
          this.options.disconnected(error);
          events.retrying(this.options.project, error, waitMs);
          await delay(clock, waitMs, signal);
        }
      }
    } finally {
      unsubscribe();
    }
  }

  /** Makes the source commit something, so that a barrier comes. Nothing happens while it is not connected. */
  async heartbeat(): Promise<void> {
    const { current } = this;
    if (current) await emitMessage(current.session, HEARTBEAT).catch(() => {});
  }

  /** Waits until the barrier of `lsn` or a later one is durable, with heartbeats in case the source is idle. */
  async reached(lsn: Lsn, signal: AbortSignal): Promise<void> {
    const { clock } = this.options.dependencies;
    const isReached = new AbortController();
    const nudging = (async () => {
      const stop = AbortSignal.any([signal, isReached.signal]);
      for (let waitMs = 20; !stop.aborted; waitMs = Math.min(waitMs * 2, 1000)) {
        await this.heartbeat();
        await delay(clock, waitMs, stop);
      }
    })();
    await this.tracker.reached(lsn, signal);
    isReached.abort();
    await nudging;
  }

  /**
   * L11: writes the activation of new streams into the source's WAL and runs `activate` when it is read, after everything up to
   * it was published and before anything after it. From then on every commit is a barrier, until `barriersUntil`.
   */
  async activate(
    name: string,
    plans: readonly StreamPlan[],
    activate: (commitLsn: Lsn) => Promise<void>,
    signal: AbortSignal,
  ): Promise<void> {
    const current = await this.connection(signal);
    this.streams.announce(plans);
    this.refit();
    const isRead = new AbortController();
    let outcome: { readonly error: unknown } | 'done' | undefined;
    this.activation = {
      name,
      run: async (commitLsn) => {
        try {
          await activate(commitLsn);
          outcome = 'done';
        } catch (error) {
          outcome = { error };
          throw error;
        } finally {
          isRead.abort();
        }
      },
    };
    try {
      await emitMessage(current.session, `${ACTIVATION}${name}`);
      // A commit that was read on a lost connection does not come again: the deployment begins anew.
      await current.session.ended(AbortSignal.any([signal, isRead.signal]));
    } finally {
      this.activation = undefined;
    }
    signal.throwIfAborted();
    if (outcome === undefined)
      throw new AppError('SOURCE_UNREACHABLE', { internal: 'the stream ended before the activation' });
    if (outcome !== 'done') throw outcome.error;
  }

  /** The connection that streams, or the next one: links break and come back. @throws AppError SOURCE_UNREACHABLE */
  private async connection(signal: AbortSignal): Promise<Connection> {
    const { clock } = this.options.dependencies;
    const deadlineMs = clock.monotonicMs() + connectionWaitMs;
    while (!this.current && clock.monotonicMs() < deadlineMs) {
      await delay(clock, connectionPollMs, signal);
      signal.throwIfAborted();
    }
    if (this.current) return this.current;
    throw new AppError('SOURCE_UNREACHABLE', { internal: 'no connection to the source' });
  }

  /**
   * L4: divides rows among `shards` from the next barrier on, once all shards have applied it; the stream waits for them there.
   * @throws AppError SOURCE_UNREACHABLE when the connection ends before, STORE_FENCED when the lease was lost
   */
  async reshard(shards: number, signal: AbortSignal): Promise<void> {
    const { session } = await this.connection(signal);
    const resharding: Resharding = this.publisher.reshard(shards);
    const isOver = new AbortController();
    const over = resharding.done.finally(() => isOver.abort());
    over.catch(() => {});
    await this.heartbeat();
    await session.ended(AbortSignal.any([signal, isOver.signal]));
    signal.throwIfAborted();
    resharding.giveUp(new AppError('SOURCE_UNREACHABLE', { internal: 'the stream ended before the next barrier' }));
    await over;
  }

  /** Ends the time of per-commit barriers once the stream has reached `until`, or at once. */
  barriersUntil(until: Lsn | undefined): void {
    this.everyCommitUntil = until;
    this.current?.run.assembler.barrierAtEveryCommit(until);
  }

  /** The set of streams changed. */
  setStreams(streams: readonly StreamRecord[]): void {
    this.streams.set(streams);
    this.refit();
  }

  /**
   * Replaces the set of streams by `change`, with no hold of the streams before in between.
   * @throws AppError SCHEMA_RELOADING when a table changed so that the new ones hold other rows than it has
   */
  switchTo(streams: readonly StreamRecord[], change: () => Promise<void>): Promise<void> {
    return this.inTurn(async () => {
      if (this.streams.isOvertaken) throw new AppError('SCHEMA_RELOADING', { internal: 'changed again' });
      this.setStreams(streams);
      await change();
    });
  }

  /** What tables look like that were copied for streams that nobody sees yet. */
  noteCopied(shapes: TableShapes): void {
    this.copiedForAdded = { ...this.copiedForAdded, ...shapes };
  }

  /** Holds and switches change the same state of the store, so that one waits for the other. */
  private async inTurn(work: () => Promise<void>): Promise<void> {
    const mine = this.turn.then(work);
    this.turn = mine.catch(() => {});
    await mine;
  }

  private refit(): void {
    this.current?.run.assembler.relations.setUsed((message) => this.streams.isUsed(message));
  }

  private async streamOnce(signal: AbortSignal, connected: () => void): Promise<void> {
    const { dependencies, project } = this.options;
    const { queue, sourceOf, events } = dependencies;
    const { tableTouched, walLow } = this.options;
    await queue.clear(project);
    this.options.queueCleared();
    const epoch = await this.readEpoch();
    const start = startPointOf(epoch.shards);
    this.tracker.restart(epoch.shards);
    this.publisher.restart(epoch, start.applied);
    const connection = await sourceOf(project);
    await using session = await openSession(connection);
    const facts = await readServerFacts(session);
    await checkStart({
      dependencies,
      session,
      connection,
      facts,
      epoch,
      start,
      tables: this.streams.tables,
      signal,
    });
    const run = this.startRun(connection, start, facts.walSenderTimeoutMs);
    this.current = { run, session };
    this.isShapeCheckWaiting = false;
    connected();
    events.streaming(project, epoch.epoch, start.startLsn);
    this.options.connected();
    try {
      await runTogether(this.afterDrain(run, signal), [
        (stop) => run.stream.run(stop),
        (stop) => run.outbox.run(stop),
        (stop) => this.keepMoving(session, stop),
        (stop) => this.pollApplied(stop),
        (stop) => this.watchGaps(stop),
        (stop) =>
          watchSource(
            { dependencies, project, session, epoch, tables: () => this.streams.tables, tableTouched, walLow },
            stop,
          ),
        (stop) => failWhenEnded(session, stop),
      ]);
    } finally {
      this.current = undefined;
      run.stop();
    }
  }

  /**
   * Aborted some time after the signal is: a stream that is handed over reads nothing more, and what it read is stored and
   * confirmed first, so that the next holder begins behind it.
   */
  private afterDrain(run: StreamRun, signal: AbortSignal): AbortSignal {
    const ended = new AbortController();
    const end = async (): Promise<void> => {
      if (this.options.isHandedOver()) await this.drain(run, ended.signal);
      ended.abort(signal.reason);
    };
    if (signal.aborted) ended.abort(signal.reason);
    else signal.addEventListener('abort', () => void end(), { once: true });
    return ended.signal;
  }

  private async drain(run: StreamRun, signal: AbortSignal): Promise<void> {
    const { clock, tuning } = this.options.dependencies;
    const deadlineMs = clock.monotonicMs() + tuning.drainMs;
    if (tuning.drainMs > 0) run.drain();
    const isUnderWay = (): boolean => this.tracker.framesInFlight + run.outbox.waiting > 0 && this.current?.run === run;
    while (isUnderWay() && clock.monotonicMs() < deadlineMs) await delay(clock, drainCheckMs, signal);
    run.stream.confirmNow();
  }

  private startRun(connection: SourceConnection, start: StartPoint, walSenderTimeoutMs: number): StreamRun {
    const { clock, tuning } = this.options.dependencies;
    const { slot, publication } = this.options.epoch.identity;
    const run = new StreamRun({
      stream: { connection, slot, publication, clock, walSenderTimeoutMs, messageBytesMax },
      start,
      tracker: this.tracker,
      clock,
      frameBytesMax: tuning.frameBytesMax,
      rowBytesMax: tuning.rowBytesMax,
      publish: (frame, signal) => this.publish(frame, signal),
      events: {
        relation: (message, previous) => this.judgeRelation(message, previous),
        rowLeftOut: (message) => this.options.rowLeftOut(quoteTable(message)),
        relationRepeated: (message) => this.tableDescribed(message),
        activation: (content, commitLsn) => this.activated(content, commitLsn),
      },
    });
    if (this.everyCommitUntil !== undefined) run.assembler.barrierAtEveryCommit(this.everyCommitUntil);
    return run;
  }

  private async publish(frame: AssembledFrame, signal: AbortSignal): Promise<void> {
    if (isBarrier(frame.end)) this.lastBarrierMs = this.options.dependencies.clock.monotonicMs();
    await this.publisher.publish(frame, signal);
  }

  /** @throws AppError SCHEMA_RELOADING when nobody may see rows of this form */
  private judgeRelation(message: RelationMessage, previous: RelationMessage | undefined): boolean {
    const verdict = this.streams.judge(message, previous);
    if (verdict.kind === 'unreadable') {
      throw new AppError('SCHEMA_RELOADING', { internal: verdict.why, details: { table: quoteTable(message) } });
    }
    if (verdict.kind === 'voided') {
      this.voidTable(verdict.table, verdict.isVoid);
      this.options.tableTouched();
    } else this.tableDescribed(message);
    return this.streams.isUsed(message);
  }

  /**
   * The server describes a table before its first row, and again after whatever was done to it. Rows that were rewritten by a change
   * that leaves the description as it was are in no message, and what comes after it does not fit what was copied: what follows
   * goes out when the catalog was asked. It may know of changes that the stream has not come to, but misses none that it has.
   */
  private tableDescribed(message: RelationMessage): void {
    const { current } = this;
    if (!this.streams.isUsed(message)) return;
    this.options.tableTouched();
    // One that waits will see what this message is about.
    if (!current || this.isShapeCheckWaiting) return;
    this.isShapeCheckWaiting = true;
    current.run.outbox.addStep(() => {
      this.isShapeCheckWaiting = false;
      return this.inTurn(() => this.checkShapes(current.session));
    });
  }

  /** @throws AppError SCHEMA_RELOADING when rows that nobody sees yet, and that come next, are not those of their table */
  private async checkShapes(session: SourceSession): Promise<void> {
    const { epoch, tableVoided } = this.options;
    const { streams } = this;
    const { publication } = epoch.identity;
    const reshaped = await findReshaped(session, publication, streams.servedPlans);
    if (reshaped.size > 0 && !streams.isServing) {
      streams.overtake();
      throw new AppError('SCHEMA_RELOADING', { internal: 'rewritten while it is loaded' });
    }
    if (await isReshapedSince(session, this.copiedForAdded, streams.addedPlans)) streams.overtake();
    if (reshaped.size > 0) await this.holdCheckpoints();
    for (const table of reshaped) tableVoided(table);
  }

  private async holdCheckpoints(): Promise<void> {
    const { dependencies, project, token, epoch } = this.options;
    await dependencies.store.holdCheckpoints(project, token, epoch.epoch, true);
    dependencies.wakeUps.publish({ kind: 'streams', project });
  }

  /**
   * What was committed before goes out as usual; then checkpoints are held, and the worker leaves the table's rows out until
   * other streams have taken the place of those that read it.
   */
  private voidTable(table: SourceTable, isVoid: () => boolean): void {
    const hold = async (): Promise<void> => {
      // By now other streams may have taken their place; a hold would then never be lifted.
      if (isVoid()) await this.holdCheckpoints();
    };
    this.current?.run.outbox.addStep(() => this.inTurn(hold));
    this.options.tableVoided(tableKey(table));
  }

  private activated(content: string, commitLsn: Lsn): void {
    const { activation, current } = this;
    if (activation?.name !== content || !current) return;
    this.activation = undefined;
    this.copiedForAdded = {};
    this.streams.activate();
    this.everyCommitUntil = 'unknown';
    current.run.assembler.barrierAtEveryCommit('unknown');
    current.run.outbox.addStep(async () => {
      await activation.run(commitLsn);
      // Rows of tables that no stream read before are divided by their key from the first one on.
      await this.publisher.refresh();
    });
  }

  private moved(shard: number, position: Position): void {
    this.tracker.moved(shard, position);
    this.current?.run.moved();
  }

  /** Writes a heartbeat whenever no barrier went by for a while; the commit before it is confirmed then. */
  private async keepMoving(session: SourceSession, signal: AbortSignal): Promise<void> {
    const { clock, heartbeatMs } = this.options.dependencies;
    this.lastBarrierMs = clock.monotonicMs();
    while (!signal.aborted) {
      const dueInMs = this.lastBarrierMs + heartbeatMs - clock.monotonicMs();
      if (dueInMs > 0) {
        await delay(clock, dueInMs, signal);
        continue;
      }
      await emitMessage(session, HEARTBEAT);
      this.lastBarrierMs = clock.monotonicMs();
    }
  }

  /** @throws AppError STORE_GAP when frames were lost that nobody else will miss: no later one shows that they are not there */
  private async pollApplied(signal: AbortSignal): Promise<void> {
    const { clock } = this.options.dependencies;
    while (!signal.aborted) {
      await delay(clock, appliedPollMs, signal);
      if (signal.aborted || this.tracker.framesInFlight === 0) continue;
      // Asked before the store is: what was not queued then and is not applied now is nowhere.
      const gone = await this.notQueued();
      const { shards } = await this.readEpoch();
      for (const { shard, applied } of shards) {
        this.moved(shard, applied);
        const awaited = gone.get(shard);
        if (awaited && comparePositions(applied, awaited) < 0)
          throw new AppError('STORE_GAP', { internal: 'the queue lost frames' });
      }
    }
  }

  /** By shard: where its last frame ends, if that is on its way and none of the shard is queued any more. */
  private async notQueued(): Promise<Map<number, Position>> {
    const { dependencies, project } = this.options;
    const gone = new Map<number, Position>();
    await Promise.all(
      this.tracker.awaited.map(async (awaited, shard) => {
        if (awaited && (await dependencies.queue.isEmpty(project, shard))) gone.set(shard, awaited);
      }),
    );
    return gone;
  }

  /** A frame was refused as beyond what is applied: the stream begins again there. */
  private watchGaps(signal: AbortSignal): Promise<void> {
    const { dependencies, project, epoch } = this.options;
    return new Promise((resolve, reject) => {
      const unsubscribe = dependencies.wakeUps.subscribe(project, (wakeUp) => {
        if (wakeUp.kind === 'gap' && wakeUp.epoch === epoch.epoch) end(new AppError('STORE_GAP'));
      });
      const stop = (): void => end(undefined);
      if (signal.aborted) stop();
      signal.addEventListener('abort', stop, { once: true });
      function end(error: AppError | undefined): void {
        unsubscribe();
        signal.removeEventListener('abort', stop);
        if (error) reject(error);
        else resolve();
      }
    });
  }

  private async readEpoch(): Promise<EpochRecord> {
    const { dependencies, project, epoch } = this.options;
    const source = await dependencies.store.readSource(project);
    const record = [source?.serving, source?.building].find((candidate) => candidate?.epoch === epoch.epoch);
    if (!record) throw new AppError('STORE_FENCED', { internal: 'the epoch is gone' });
    return record;
  }
}

async function failWhenEnded(session: SourceSession, signal: AbortSignal): Promise<void> {
  await session.ended(signal);
  // A server that shuts down waits for its WAL senders until they have confirmed everything, which L2 forbids: the end of
  // this session is how we learn of it, and end the stream.
  if (!signal.aborted) throw new AppError('SOURCE_UNREACHABLE', { internal: 'the source ended our session' });
}

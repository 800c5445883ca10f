import {
  type EpochRecord,
  type HeldLease,
  type SourceRecord,
  type StreamRecord,
  waitForLease,
} from '@sluice/bucket-store';
import { delay, type Epoch, type ProjectId } from '@sluice/domain';
import { AppError, assert, isAppError } from '@sluice/errors';
import type { StreamPlan } from '@sluice/sync-rules';
import { auditStreams } from './audit.ts';
import type { CopyStatus } from './copy-progress.ts';
import { copyTables } from './copy-tables.ts';
import type { Dependencies } from './dependencies.ts';
import {
  type AuditJob,
  type DeployJob,
  DeployJobs,
  type DeployProgress,
  type Job,
  type ReshardJob,
} from './deploy-jobs.ts';
import { dropLeftovers, type EpochStartOptions, type StartedEpoch, startEpoch } from './epoch-start.ts';
import { findReshaped } from './find-reshaped.ts';
import { ENDS_EPOCH, Follower } from './follower.ts';
import type { Holding } from './holding.ts';
import { Backoff } from './progress/backoff.ts';
import { ConditionWriter } from './progress/condition-writer.ts';
import { settledAt } from './progress/settled-at.ts';
import { dropLoading, keepResumable, redeploy, streamsInUse } from './redeploy.ts';
import { resumeEpoch } from './resume-epoch.ts';
import { runTogether } from './run-together.ts';
import { planOf } from './schema/plan-tables.ts';
import { firstMisfit } from './schema/relation-fit.ts';
import { settleCopies } from './settle-copies.ts';
import { readCatalog } from './source/catalog.ts';
import { openSession, type SourceSession } from './source/connection.ts';
import { quoteTable } from './source/quote.ts';
import { type TableShapes, writeCopiedShapes } from './source/table-shapes.ts';

/** What we have on the source is dropped: it fills the customer's disk, or makes the customer's writes fail. */
const HARMS_SOURCE: ReadonlySet<string> = new Set(['SOURCE_WAL_BUDGET', 'SOURCE_GENERATED_COLUMN']);
const checkpointPollMs = 50;

/** Everything that one project needs of its source: lease, epochs, stream, deployments. */
export class ProjectRunner {
  readonly jobs = new DeployJobs();
  private readonly dependencies: Dependencies;
  private readonly project: ProjectId;
  private readonly holder: string;
  /** Why the next epoch begins, once following the last one has become impossible. */
  private reloadReason: string | undefined;
  private follower: Follower | undefined;
  /** The epoch whose building must not be resumed. */
  private brokenEpoch: Epoch | undefined;
  /** The epoch that is being built just now. */
  private builtEpoch: Epoch | undefined;
  /** While it is there, streams that are being added, and that nobody is working on, wait for a deployment. */
  private claimWait: object | undefined;
  /** Tables, as `schema.table`, that the serving streams can no longer read, or whose rows are no longer those copied. */
  private readonly voidTables = new Set<string>();
  private republish = (): void => {};
  /** Whether the work ends because it was asked to, with the lease still held. */
  private isHandedOver = (): boolean => false;

  constructor(dependencies: Dependencies, project: ProjectId, holder: string) {
    this.dependencies = dependencies;
    this.project = project;
    this.holder = holder;
  }

  /** Works on the source for as long as it holds the lease; resolves when aborted and fully stopped. */
  async run(signal: AbortSignal): Promise<void> {
    const { store, clock, events, tuning, random } = this.dependencies;
    const { project, holder } = this;
    const backoff = new Backoff(tuning.reconnectFirstMs, tuning.reconnectMaxMs, random);
    while (!signal.aborted) {
      let lease: HeldLease | undefined;
      try {
        lease = await waitForLease({ store, project, clock, holder, ttlMs: tuning.leaseTtlMs }, signal);
        if (!lease) return;
        events.leaseTaken(project);
        this.dependencies.leaseChanged(project, true);
        const { signal: lost } = lease;
        this.isHandedOver = () => signal.aborted && !lost.aborted;
        await this.hold(lease, AbortSignal.any([signal, lost]));
        if (lost.aborted) events.leaseLost(project);
        backoff.reset();
      } catch (error) {
        const waitMs = backoff.nextMs();
        events.retrying(project, error, waitMs);
        await delay(clock, waitMs, signal);
      } finally {
        await lease?.release();
        if (lease) this.dependencies.leaseChanged(project, false);
      }
    }
  }

  /** Writes a heartbeat into the source, if it is being followed. */
  async heartbeat(): Promise<void> {
    await this.follower?.heartbeat();
  }

  /** Works until the lease is lost. @throws what only giving up the lease can answer */
  private async hold(lease: HeldLease, signal: AbortSignal): Promise<void> {
    const { store, clock, tuning, random } = this.dependencies;
    const { dependencies, project } = this;
    const condition = new ConditionWriter({ store, clock, project, token: lease.token });
    const holding: Holding = { dependencies, project, token: lease.token, condition };
    const backoff = new Backoff(tuning.reconnectFirstMs, tuning.reconnectMaxMs, random);
    while (!signal.aborted) {
      try {
        await this.work(holding, signal);
        backoff.reset();
      } catch (error) {
        if (signal.aborted) return;
        if (isAppError(error, 'STORE_FENCED')) throw error;
        const waitMs = await this.answer(holding, error, backoff);
        await this.pause(waitMs, signal);
      }
    }
  }

  /** Decides what a failure means; returns how long to wait before going on. */
  private async answer(holding: Holding, error: unknown, backoff: Backoff): Promise<number> {
    const { tuning, events } = this.dependencies;
    const { condition, project } = holding;
    // Only a copy that nothing was wrong with goes on where it stands.
    if (!isAppError(error) || error.definition.retry !== 'retry' || ENDS_EPOCH.has(error.code))
      this.brokenEpoch = this.builtEpoch ?? this.brokenEpoch;
    if (isAppError(error) && ENDS_EPOCH.has(error.code)) {
      this.reloadReason = error.code;
      const waitMs = backoff.nextMs();
      events.retrying(project, error, waitMs);
      return waitMs;
    }
    if (isAppError(error) && error.definition.retry === 'retry') {
      const waitMs = backoff.nextMs();
      events.retrying(project, error, waitMs);
      await condition.interrupted('stalled', error.code).catch(() => {});
      return waitMs;
    }
    if (isAppError(error) && HARMS_SOURCE.has(error.code)) {
      this.reloadReason = error.code;
      await this.dropOld(holding, await this.dependencies.store.readSource(project)).catch(() => {});
    }
    // Whatever undoes the change, rows may have been missed meanwhile: what comes next is a new epoch.
    if (isAppError(error, 'SCHEMA_CHANGED')) this.reloadReason ??= 'SCHEMA_RELOADING';
    // L17: a broken invariant, or something that a person must put right, stops this project alone, with its last checkpoint.
    events.stopped(project, error);
    await condition.interrupted('stopped', isAppError(error) ? error.code : 'SOURCE_PROTOCOL').catch(() => {});
    return tuning.lookAgainMs;
  }

  /** Waits, unless a deployment asks for something new. */
  private async pause(waitMs: number, signal: AbortSignal): Promise<void> {
    const either = new AbortController();
    const first = this.jobs.first;
    const watch = this.jobs.next(AbortSignal.any([signal, either.signal])).then((job) => {
      if (job && job !== first) either.abort();
    });
    await delay(this.dependencies.clock, waitMs, AbortSignal.any([signal, either.signal]));
    either.abort();
    await watch;
  }

  /** One stretch of following one epoch, or of making one. */
  private async work(holding: Holding, signal: AbortSignal): Promise<void> {
    const source = await this.dependencies.store.readSource(this.project);
    const serving = source?.serving;
    // Held while it serves: its streams show too little, and which they are is not known any more.
    if (serving?.held) this.reloadReason ??= 'SCHEMA_RELOADING';
    // An epoch is only built beside one that cannot be followed any more, whose slot is gone.
    if (serving && source?.building) this.reloadReason ??= reasonOf(source);
    if (serving && this.reloadReason === undefined) return this.follow(holding, source, serving, signal);
    const job = serving || source?.building ? this.jobs.first : await this.firstJob(signal);
    const interrupted = source?.building !== undefined && !serving;
    if (!job && !interrupted && this.reloadReason === undefined) return;
    await this.beginEpoch(holding, source, job, signal);
  }

  private async firstJob(signal: AbortSignal): Promise<DeployJob | undefined> {
    const job = await this.jobs.next(signal);
    return job?.kind === 'deploy' ? job : undefined;
  }

  private async beginEpoch(
    holding: Holding,
    source: SourceRecord | undefined,
    job: DeployJob | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    let started: StartedEpoch;
    try {
      const plans = job?.plans ?? (await this.wantedPlans(source));
      const resumed = await this.resumed(holding, source, plans);
      started = resumed ?? (await this.started(holding, source, { plans, reason: this.reloadReason ?? '', job }));
    } catch (error) {
      if (!signal.aborted) job?.settle(error);
      throw error;
    }
    this.builtEpoch = started.epoch.epoch;
    const follower = this.newFollower(holding, started.epoch, started.streams);
    await this.together(follower, signal, async (stop) => {
      await this.load(holding, follower, started, job, stop);
      await this.serveJobs(holding, follower, started.epoch, stop);
    });
  }

  /** L10: the epoch that was being built, if its copy can go on where it stands. */
  private async resumed(
    holding: Holding,
    source: SourceRecord | undefined,
    plans: readonly StreamPlan[],
  ): Promise<StartedEpoch | undefined> {
    const building = source?.building;
    if (!building || building.epoch === this.brokenEpoch) return undefined;
    const started = await resumeEpoch(holding, { epoch: building, plans, reason: this.reloadReason ?? '' });
    // One attempt that ends before anything streams must not be repeated for ever.
    if (!started) this.brokenEpoch = building.epoch;
    return started;
  }

  private async started(
    holding: Holding,
    source: SourceRecord | undefined,
    options: EpochStartOptions,
  ): Promise<StartedEpoch> {
    await this.dropOld(holding, source);
    return startEpoch(holding, options);
  }

  /** L16: a slot that will not be read again keeps WAL on the customer's disk, for however long the new epoch takes. */
  private async dropOld(holding: Holding, source: SourceRecord | undefined): Promise<void> {
    await using session = await openSession(await this.dependencies.sourceOf(this.project));
    await dropLeftovers(holding, session, source);
  }

  private async load(
    holding: Holding,
    follower: Follower,
    started: StartedEpoch,
    job: DeployJob | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const { dependencies, project, token, condition } = holding;
    const { store, wakeUps, events, faultPoint } = dependencies;
    const { epoch, streams, point, snapshot } = started;
    const onProgress = (status: CopyStatus): void => {
      const { rowsDone, rowsEstimate } = status;
      job?.onProgress({ step: 'snapshot', rowsDone, rowsEstimate });
      void condition.progress(status).catch(() => {});
    };
    const onQueueCleared = (republish: () => void): void => {
      this.republish = republish;
    };
    if (snapshot) {
      // The copy's sessions keep a lock on every table, and their snapshot keeps the source from cleaning up dead rows.
      await using _snapshot = snapshot;
      const described = (session: SourceSession, shapes: TableShapes): Promise<void> =>
        writeCopiedShapes(session, epoch.identity.publication, shapes);
      const { slot } = epoch.identity;
      const copy = { dependencies, project, token, epoch: epoch.epoch, streams, point, snapshot, slot, described };
      await copyTables({ ...copy, onProgress, onQueueCleared }, signal);
    }
    await faultPoint('streams loaded');
    await follower.reached(await settledAt(store, project, epoch.epoch, point), signal);
    await settleCopies(holding, { epoch, streams }, signal);
    signal.throwIfAborted();
    await faultPoint('copy settled');
    const show = streams.map(({ stream }) => stream);
    await follower.switchTo(streams, async () => {
      await store.switchStreams(project, token, epoch.epoch, { show, drop: [] });
      follower.setStreams(await streamsInUse(holding, epoch));
    });
    events.switched(project, epoch.epoch);
    wakeUps.publish({ kind: 'streams', project });
    this.builtEpoch = undefined;
    this.reloadReason = undefined;
    this.voidTables.clear();
    await this.firstCheckpoint(follower, epoch, signal);
    await condition.live();
    job?.onProgress({ step: 'live', rowsDone: 0, rowsEstimate: 0 });
    job?.settle();
  }

  /** An idle source needs a commit before the switch becomes a checkpoint. */
  private async firstCheckpoint(follower: Follower, epoch: EpochRecord, signal: AbortSignal): Promise<void> {
    const { store, clock } = this.dependencies;
    for (;;) {
      await follower.heartbeat();
      await delay(clock, checkpointPollMs, signal);
      signal.throwIfAborted();
      const checkpoint = await store.readCheckpoint(this.project);
      if (checkpoint?.epoch === epoch.epoch) return;
    }
  }

  private async follow(
    holding: Holding,
    source: SourceRecord,
    serving: EpochRecord,
    signal: AbortSignal,
  ): Promise<void> {
    const connection = await this.dependencies.sourceOf(this.project);
    {
      await using session = await openSession(connection);
      await dropLeftovers(holding, session, source, serving.identity);
    }
    const isKept = await keepResumable(holding, serving);
    const follower = this.newFollower(holding, serving, await streamsInUse(holding, serving));
    await holding.condition.live();
    await this.together(follower, signal, async (stop) => {
      if (isKept) this.awaitClaim(stop);
      await this.serveJobs(holding, follower, serving, stop);
    });
  }

  /** Gives streams whose copy was cut off some time for a deployment that goes on with them. */
  private awaitClaim(signal: AbortSignal): void {
    const { clock, tuning } = this.dependencies;
    const wait = {};
    this.claimWait = wait;
    void delay(clock, tuning.resumeWithinMs, signal).then(() => {
      if (signal.aborted || this.claimWait !== wait) return;
      this.claimWait = undefined;
      this.jobs.touch();
    });
  }

  /** Streams that are being added, and that nobody will go on with, cost as much as any: the time is over, or the job excludes them. */
  private async dropUnclaimed(holding: Holding, follower: Follower, epoch: EpochRecord, job: Job): Promise<void> {
    if (job.kind === 'deploy') return;
    if (job.kind === 'reconcile' && this.claimWait) return;
    await this.dropLeftover(holding, follower, epoch);
  }

  private async dropLeftover(holding: Holding, follower: Follower, epoch: EpochRecord): Promise<void> {
    // Dropping streams lifts a hold, which would show the void ones.
    if (this.voidTables.size > 0 || !(await dropLoading(holding, epoch))) return;
    follower.setStreams(await streamsInUse(holding, epoch));
  }

  private newFollower(holding: Holding, epoch: EpochRecord, streams: readonly StreamRecord[]): Follower {
    const { dependencies, project, token, condition } = holding;
    const ignore = (): void => {};
    return new Follower({
      dependencies,
      project,
      token,
      epoch,
      streams,
      connected: () => {
        void condition.resumed().catch(ignore);
        // A table that changed while nobody was connected, or while a reconciliation failed, is not described as changed.
        this.jobs.touch();
      },
      disconnected: (error) =>
        void condition.interrupted('stalled', isAppError(error) ? error.code : 'SOURCE_UNREACHABLE').catch(ignore),
      tableTouched: () => this.jobs.touch(),
      tableVoided: (table) => {
        this.voidTables.add(table);
        void condition.loading('SCHEMA_RELOADING').catch(ignore);
        this.jobs.touch();
      },
      queueCleared: () => this.republish(),
      walLow: (retainedBytes) => void this.tellWal(condition, retainedBytes).catch(ignore),
      isHandedOver: () => this.isHandedOver(),
      rowLeftOut: (table) => {
        dependencies.events.rowsLeftOut(project, table, 1);
        const details = { table, bytesMax: dependencies.tuning.rowBytesMax };
        void condition.warn('SOURCE_ROW_OVERSIZED', details).catch(ignore);
      },
    });
  }

  /** A warning must not cover why the project is stopped or what it loads. */
  private async tellWal(condition: ConditionWriter, retainedBytes: number | undefined): Promise<void> {
    const { store, tuning } = this.dependencies;
    if (retainedBytes === undefined && !condition.isWarned('SOURCE_WAL_BUDGET')) return;
    if ((await store.readSource(this.project))?.condition.state !== 'live') return;
    if (retainedBytes === undefined) await condition.live();
    else await condition.warn('SOURCE_WAL_BUDGET', { retainedBytes, walBytesMax: tuning.walBytesMax });
  }

  private async together(
    follower: Follower,
    signal: AbortSignal,
    work: (signal: AbortSignal) => Promise<void>,
  ): Promise<void> {
    this.follower = follower;
    try {
      await runTogether(signal, [(stop) => follower.run(stop), (stop) => withoutAbort(stop, work(stop))]);
    } finally {
      this.follower = undefined;
      this.republish = () => {};
    }
  }

  /** Does one deployment after the other while the epoch is followed. */
  private async serveJobs(
    holding: Holding,
    follower: Follower,
    epoch: EpochRecord,
    signal: AbortSignal,
  ): Promise<void> {
    for (let job = await this.jobs.next(signal, true); job; job = await this.jobs.next(signal, true)) {
      await this.dropUnclaimed(holding, follower, epoch, job);
      if (job.kind === 'audit') {
        await this.serveAudit({ holding, follower, epoch }, job, signal);
        continue;
      }
      if (job.kind === 'reshard') {
        await this.reshard(follower, job, signal);
        continue;
      }
      const onProgress = job.kind === 'deploy' ? job.onProgress : (_: DeployProgress): void => {};
      const onQueueCleared = (republish: () => void): void => {
        this.republish = republish;
      };
      try {
        // In this order: a change in between is seen by the second look, or by neither and then by the next ones.
        await this.findReshaped(holding, epoch);
        const wanted = job.kind === 'deploy' ? job.plans : await this.reconciledPlans(holding, epoch);
        const { voidTables } = this;
        if (voidTables.size > 0) await holding.condition.loading('SCHEMA_RELOADING');
        await redeploy({ holding, epoch, follower, wanted, voidTables, onProgress, onQueueCleared }, signal);
        if (holding.condition.isLoading && voidTables.size === 0) await holding.condition.live();
        if (job.kind === 'deploy') {
          await this.dropLeftover(holding, follower, epoch);
          job.settle();
        }
      } catch (error) {
        if (signal.aborted) return;
        this.awaitClaim(signal);
        if (job.kind === 'deploy') job.settle(error);
        if (job.kind !== 'deploy' || isAppError(error, 'SCHEMA_RELOADING')) throw error;
      }
    }
  }

  /** A comparison that fails changes nothing and stops nothing. */
  private async serveAudit(
    of: { readonly holding: Holding; readonly follower: Follower; readonly epoch: EpochRecord },
    job: AuditJob,
    signal: AbortSignal,
  ): Promise<void> {
    const onQueueCleared = (republish: () => void): void => {
      this.republish = republish;
    };
    try {
      if (this.voidTables.size > 0) throw new AppError('SCHEMA_RELOADING');
      job.settle({ report: await auditStreams({ ...of, onProgress: () => {}, onQueueCleared }, signal) });
    } catch (error) {
      if (!signal.aborted) this.dependencies.events.auditFailed(this.project, error);
      job.settle({ error });
    }
  }

  /** Nothing is copied meanwhile: jobs wait for each other. */
  private async reshard(follower: Follower, job: ReshardJob, signal: AbortSignal): Promise<void> {
    try {
      await follower.reshard(job.shards, signal);
      job.settle();
    } catch (error) {
      if (signal.aborted) return;
      job.settle(error);
      if (!isAppError(error) || error.definition.retry !== 'retry') throw error;
    }
  }

  /** What the deployed rules mean for the catalog as it is. @throws AppError */
  private async reconciledPlans(holding: Holding, epoch: EpochRecord): Promise<readonly StreamPlan[]> {
    const { compileRules, sourceOf } = this.dependencies;
    const catalog = await readCatalog(await sourceOf(this.project));
    const rules = await compileRules?.(this.project, catalog);
    if (rules) return rules.streams;
    const plans = await this.visiblePlans(holding, epoch);
    // Nobody can say what the rules mean now: the new epoch's start finds the table that they no longer fit.
    if (firstMisfit(plans, catalog)) throw new AppError('SCHEMA_RELOADING');
    return plans;
  }

  /** Adds the tables whose rows may no longer be those that were copied, though the stream can still be read. */
  private async findReshaped(holding: Holding, epoch: EpochRecord): Promise<void> {
    const plans = await this.visiblePlans(holding, epoch);
    await using session = await openSession(await this.dependencies.sourceOf(this.project));
    for (const table of await findReshaped(session, epoch.identity.publication, plans)) this.voidTables.add(table);
  }

  private async visiblePlans(holding: Holding, epoch: EpochRecord): Promise<StreamPlan[]> {
    const streams = await streamsInUse(holding, epoch);
    return streams.filter(({ visibleAfter }) => visibleAfter !== undefined).map(planOf);
  }

  /** The streams that a new epoch begins with when no deployment says so. @throws AppError SCHEMA_CHANGED */
  private async wantedPlans(source: SourceRecord | undefined): Promise<readonly StreamPlan[]> {
    const { compileRules, sourceOf, store } = this.dependencies;
    const catalog = await readCatalog(await sourceOf(this.project));
    const compiled = await compileRules?.(this.project, catalog);
    if (compiled) return compiled.streams;
    const epoch = source?.serving ?? source?.building;
    assert(epoch, 'there is an epoch to begin again');
    const streams = (await store.readStreams(this.project)).filter(
      (stream) => stream.epoch === epoch.epoch && stream.droppedAfter === undefined,
    );
    const plans = streams.filter((stream) => !source?.serving || stream.visibleAfter !== undefined).map(planOf);
    const misfit = firstMisfit(plans, catalog);
    if (misfit) throw new AppError('SCHEMA_CHANGED', { details: { table: quoteTable(misfit) } });
    return plans;
  }
}

/** Why the epoch that was being built when we were stopped is built. */
function reasonOf({ condition }: SourceRecord): string {
  return condition.state === 'loading' && condition.code !== '' ? condition.code : 'SLOT_LOST';
}

/** What work throws because it was told to stop is no failure. */
async function withoutAbort(signal: AbortSignal, work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

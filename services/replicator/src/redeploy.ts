import type { EpochRecord, StreamRecord } from '@sluice/bucket-store';
import type { Lsn, StreamNo } from '@sluice/domain';
import { AppError, isAppError } from '@sluice/errors';
import type { StreamPlan } from '@sluice/sync-rules';
import type { CopyStatus } from './copy-progress.ts';
import { copyTables } from './copy-tables.ts';
import type { DeployProgress } from './deploy-jobs.ts';
import { newStream, refuseUnfit } from './epoch-start.ts';
import type { Follower } from './follower.ts';
import type { Holding } from './holding.ts';
import { settledAt } from './progress/settled-at.ts';
import { areTablesUntouched, isOfPlans, newestPoint, plannedRanges, resumeUnder } from './resumable-copy.ts';
import { contentOf, planDeployment } from './schema/deployment-plan.ts';
import { planOf, tablesOfPlans } from './schema/plan-tables.ts';
import { settleCopies } from './settle-copies.ts';
import { openSession, type SourceSession } from './source/connection.ts';
import { temporarySlotName } from './source/names.ts';
import { addPublishedTables, setPublishedTables } from './source/publication.ts';
import { tableKey } from './source/quote.ts';
import { createSlot } from './source/slot.ts';
import { openSnapshot, type Snapshot } from './source/snapshot.ts';
import { readCopiedShapes, type TableShapes, writeCopiedShapes } from './source/table-shapes.ts';

export interface RedeployOptions {
  readonly holding: Holding;
  readonly epoch: EpochRecord;
  readonly follower: Follower;
  readonly wanted: readonly StreamPlan[];
  /**
   * Tables, as `schema.table`, whose copy is void: their streams are copied again whatever their content, while checkpoints are
   * held. It may grow while this runs; the switch empties it.
   */
  readonly voidTables: Set<string>;
  readonly onProgress: (progress: DeployProgress) => void;
  readonly onQueueCleared: (republish: () => void) => void;
}

/**
 * L11: turns the streams of a serving epoch into the wanted ones. The tables are published first; then the activation goes into the
 * source's WAL; when it has been read, a temporary slot gives a point under which the new streams are copied, while the old
 * set serves. The switch shows all that is new and drops all that is gone, at one checkpoint.
 * @throws AppError; then the old set serves on, and the new streams are dropped
 */
export async function redeploy(options: RedeployOptions, signal: AbortSignal): Promise<void> {
  const { holding, epoch, follower, wanted, onProgress } = options;
  const { dependencies, project, token } = holding;
  const { store, wakeUps, events, faultPoint } = dependencies;
  const inUse = await streamsInUse(holding, epoch);
  const visible = inUse.filter((stream) => stream.visibleAfter !== undefined);
  const isVoid = (stream: StreamPlan): boolean =>
    tablesOfPlans([stream]).some((table) => options.voidTables.has(tableKey(table)));
  const loading = inUse.filter((stream) => stream.visibleAfter === undefined);
  const plan = planDeployment(visible, wanted, isVoid);
  if (plan.added.length === 0 && plan.dropped.length === 0) {
    options.voidTables.clear();
    return;
  }
  const connection = await dependencies.sourceOf(project);
  await using session = await openSession(connection);
  const { publication } = epoch.identity;
  onProgress({ step: 'publication', rowsDone: 0, rowsEstimate: 0 });
  await refuseUnfit(connection, plan.added);
  await addPublishedTables(session, publication, tablesOfPlans(plan.added));
  await faultPoint('publication altered');
  const isResumed = await canGoOn(options, session, { loading, wanted: plan.added });
  // Dropping streams lifts a hold: while there may be one, what is left over goes with the switch.
  const leftover = isResumed || options.voidTables.size === 0 ? [] : loading;
  if (!isResumed && leftover.length === 0 && (await dropLoading(holding, epoch))) follower.setStreams(visible);
  let added: readonly StreamRecord[] = [];
  let shapes: TableShapes = {};
  try {
    // What these streams show is no state that the source ever had.
    if (options.voidTables.size > 0) await store.holdCheckpoints(project, token, epoch.epoch, true);
    // They are what the copy that goes on found.
    if (isResumed) follower.noteCopied(await readCopiedShapes(session, publication));
    if (isResumed) ({ streams: added, shapes } = await resumeLoaded(options, loading, signal));
    else if (plan.added.length > 0) ({ streams: added, shapes } = await addLoaded(options, plan.added, signal));
    await faultPoint('streams loaded');
    const numbers = (streams: readonly StreamRecord[]) => streams.map(({ stream }) => stream);
    await follower.switchTo([...plan.kept, ...added], async () => {
      if (plan.kept.some((stream) => isVoid(planOf(stream))))
        throw new AppError('SCHEMA_RELOADING', { internal: 'changed again' });
      await store.switchStreams(project, token, epoch.epoch, {
        show: numbers(added),
        drop: numbers([...plan.dropped, ...leftover]),
      });
      options.voidTables.clear();
      // Before anybody compares the tables with it again.
      await writeCopiedShapes(session, publication, { ...(await readCopiedShapes(session, publication)), ...shapes });
    });
    events.switched(project, epoch.epoch);
  } catch (error) {
    // Dropping streams lifts the hold, which would show the void ones: then only a new epoch helps.
    if (options.voidTables.size > 0) throw new AppError('SCHEMA_RELOADING', { cause: error });
    const isCutOff = signal.aborted || (isAppError(error) && error.definition.retry === 'retry');
    const goesOn = async (): Promise<boolean> => isResumable(holding, await loadingStreams(holding, epoch));
    if (!isCutOff || !(await goesOn().catch(() => false))) {
      follower.barriersUntil(undefined);
      await dropLoading(holding, epoch).catch(() => {});
    }
    throw error;
  } finally {
    wakeUps.publish({ kind: 'streams', project });
    follower.setStreams(await streamsInUse(holding, epoch).catch(() => inUse));
  }
  await follower.heartbeat();
  await narrowPublication(session, publication, wanted);
  onProgress({ step: 'live', rowsDone: 0, rowsEstimate: 0 });
}

type LoadOptions = Pick<RedeployOptions, 'holding' | 'epoch' | 'follower' | 'onProgress' | 'onQueueCleared'>;
interface Loaded {
  readonly streams: readonly StreamRecord[];
  /** Of the tables that were copied now. */
  readonly shapes: TableShapes;
}

/** Adds the streams, copies their tables, and waits until they can be shown. */
export async function addLoaded(
  options: LoadOptions,
  plans: readonly StreamPlan[],
  signal: AbortSignal,
): Promise<Loaded> {
  const { holding, epoch, follower, onProgress } = options;
  const { dependencies, project, token } = holding;
  const { store, wakeUps, randomHex, faultPoint } = dependencies;
  let streams: readonly StreamRecord[] = [];
  const activate = async (commitLsn: Lsn): Promise<void> => {
    streams = await store.addStreams(project, token, epoch.epoch, plans.map(newStream), commitLsn);
    wakeUps.publish({ kind: 'streams', project });
  };
  await follower.activate(randomHex(8), plans, activate, signal);
  await faultPoint('streams activated');
  onProgress({ step: 'slot', rowsDone: 0, rowsEstimate: 0 });
  return await copyUnderPoint(
    options,
    streams,
    async (numbers, point) => {
      await store.setBackfillPoint(project, token, numbers, point);
      follower.barriersUntil(point);
    },
    signal,
  );
}

/** L10: goes on with streams whose copy was cut off: ranges that are done stay, what is left is read under a new point. */
async function resumeLoaded(
  options: LoadOptions,
  streams: readonly StreamRecord[],
  signal: AbortSignal,
): Promise<Loaded> {
  const { holding, epoch, onProgress } = options;
  const { dependencies, project } = holding;
  const { events } = dependencies;
  const ranges = (await plannedRanges(holding, streams)) ?? [];
  const done = ranges.filter(({ point }) => point !== undefined).length;
  events.copyResumed(project, epoch.epoch, { done, left: ranges.length - done });
  if (done === ranges.length) {
    await untilSettled(options, streams, newestPoint(streams, ranges), signal);
    return { streams, shapes: {} };
  }
  onProgress({ step: 'slot', rowsDone: 0, rowsEstimate: 0 });
  const begin = (numbers: readonly StreamNo[], point: Lsn): Promise<void> => resumeUnder(holding, numbers, point);
  return await copyUnderPoint(options, streams, begin, signal);
}

/** Copies what is not copied yet under a new consistent point, which `begin` writes down, and waits until it can be shown. */
async function copyUnderPoint(
  options: LoadOptions,
  streams: readonly StreamRecord[],
  begin: (streams: readonly StreamNo[], point: Lsn) => Promise<void>,
  signal: AbortSignal,
): Promise<Loaded> {
  const { holding, epoch, onProgress, onQueueCleared } = options;
  const { dependencies, project, token } = holding;
  const { slot, publication } = epoch.identity;
  let shapes: TableShapes = {};
  const described = async (session: SourceSession, found: TableShapes): Promise<void> => {
    shapes = found;
    options.follower.noteCopied(found);
    // What others read is as they copied it until these are shown; a copy that is resumed asks what its own tables were.
    await writeCopiedShapes(session, publication, { ...found, ...(await readCopiedShapes(session, publication)) });
  };
  const onCopied = ({ rowsDone, rowsEstimate }: CopyStatus): void =>
    onProgress({ step: 'snapshot', rowsDone, rowsEstimate });
  const { snapshot, point } = await openBackfill(holding);
  {
    await using _snapshot = snapshot;
    await begin(
      streams.map(({ stream }) => stream),
      point,
    );
    dependencies.wakeUps.publish({ kind: 'streams', project });
    const copy = { dependencies, project, token, epoch: epoch.epoch, streams, point, snapshot, slot, described };
    await copyTables({ ...copy, onProgress: onCopied, onQueueCleared }, signal);
  }
  await untilSettled(options, streams, point, signal);
  return { streams, shapes };
}

/** L9, L10: waits until the stream is past the copy's newest point, and puts the sums right. */
async function untilSettled(
  { holding, epoch, follower }: LoadOptions,
  streams: readonly StreamRecord[],
  point: Lsn,
  signal: AbortSignal,
): Promise<void> {
  const { dependencies, project } = holding;
  await follower.reached(await settledAt(dependencies.store, project, epoch.epoch, point), signal);
  await settleCopies(holding, { epoch, streams }, signal);
  signal.throwIfAborted();
}

/** Whether what is loading is what is wanted, and its copy can go on where it was cut off. @throws AppError */
async function canGoOn(
  { holding, epoch, follower, voidTables }: RedeployOptions,
  session: SourceSession,
  { loading, wanted }: { readonly loading: readonly StreamRecord[]; readonly wanted: readonly StreamPlan[] },
): Promise<boolean> {
  if (voidTables.size > 0 || follower.streams.isOvertaken || !isOfPlans(loading, wanted)) return false;
  return (await isResumable(holding, loading)) && (await areTablesUntouched(session, epoch, wanted));
}

/** Whether these are streams that are being added whose copy was planned under a point; false without any. */
async function isResumable(holding: Holding, loading: readonly StreamRecord[]): Promise<boolean> {
  if (loading.length === 0 || loading.some(({ backfillPoint }) => backfillPoint === undefined)) return false;
  return (await plannedRanges(holding, loading)) !== undefined;
}

/** Opens sessions on a consistent point of its own; the temporary slot that gave it is gone again at once. */
export async function openBackfill(holding: Holding): Promise<{ snapshot: Snapshot; point: Lsn }> {
  const { dependencies, project } = holding;
  const connection = await dependencies.sourceOf(project);
  await using slot = await createSlot({
    connection,
    slot: temporarySlotName(project, dependencies.randomHex(8)),
    isTemporary: true,
    survivesFailover: false,
    deadlineMs: dependencies.tuning.slotDeadlineMs,
    clock: dependencies.clock,
  });
  const { copySessions: sessions, copyLockWaitMs: lockWaitMs } = dependencies.tuning;
  return {
    snapshot: await openSnapshot(connection, { snapshot: slot.snapshot, sessions, lockWaitMs }),
    point: slot.consistentPoint,
  };
}

/** A table that no stream reads any more leaves the publication; when that fails, the next deployment tries again. */
async function narrowPublication(
  session: SourceSession,
  publication: string,
  wanted: readonly StreamPlan[],
): Promise<void> {
  await setPublishedTables(session, publication, tablesOfPlans(wanted)).catch(() => {});
}

/** Drops the generations that are being added; they were never visible. False when there are none. */
export async function dropLoading(holding: Holding, epoch: EpochRecord): Promise<boolean> {
  const { dependencies, project, token } = holding;
  const loading = await loadingStreams(holding, epoch);
  if (loading.length === 0) return false;
  const drop = loading.map(({ stream }) => stream);
  await dependencies.store.switchStreams(project, token, epoch.epoch, { show: [], drop });
  dependencies.wakeUps.publish({ kind: 'streams', project });
  return true;
}

/**
 * Drops the generations that are being added unless a deployment can go on with them in this process, which did not begin them.
 * True when they stay.
 */
export async function keepResumable(holding: Holding, epoch: EpochRecord): Promise<boolean> {
  // A frame that holds commits from both sides of the point would be counted by halves: only one process cuts frames at it.
  const isPassed = ({ backfillPoint }: StreamRecord): boolean =>
    backfillPoint !== undefined && epoch.shards.every(({ barrier }) => barrier.lsn >= backfillPoint);
  const inUse = await streamsInUse(holding, epoch);
  const shown = new Set(inUse.filter(({ visibleAfter }) => visibleAfter !== undefined).map(contentOf));
  const loading = inUse.filter(({ visibleAfter }) => visibleAfter === undefined);
  // What is shown already was copied once more since the copy was void, or to compare both.
  const isKept =
    loading.every((stream) => isPassed(stream) && !shown.has(contentOf(stream))) &&
    (await isResumable(holding, loading));
  if (!isKept) await dropLoading(holding, epoch);
  return isKept;
}

async function loadingStreams(holding: Holding, epoch: EpochRecord): Promise<StreamRecord[]> {
  return (await streamsInUse(holding, epoch)).filter((stream) => stream.visibleAfter === undefined);
}

/** The generations of an epoch that are not dropped. */
export async function streamsInUse(holding: Holding, epoch: EpochRecord): Promise<StreamRecord[]> {
  const streams = await holding.dependencies.store.readStreams(holding.project);
  return streams.filter((stream) => stream.epoch === epoch.epoch && stream.droppedAfter === undefined);
}

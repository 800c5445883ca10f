import type { EpochRecord, StreamRecord } from '@sluice/bucket-store';
import type { Lsn } from '@sluice/domain';
import { AppError } from '@sluice/errors';
import type { StreamPlan } from '@sluice/sync-rules';
import { copyTables } from './copy-tables.ts';
import type { DeployProgress } from './deploy-jobs.ts';
import { newStream, refuseUnfit } from './epoch-start.ts';
import type { Follower } from './follower.ts';
import type { Holding } from './holding.ts';
import { settledAt } from './progress/settled-at.ts';
import { planDeployment } from './schema/deployment-plan.ts';
import { tablesOfPlans } from './schema/plan-tables.ts';
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
  let added: readonly StreamRecord[] = [];
  let shapes: TableShapes = {};
  try {
    // What these streams show is no state that the source ever had.
    if (options.voidTables.size > 0) await store.holdCheckpoints(project, token, epoch.epoch, true);
    if (plan.added.length > 0) ({ streams: added, shapes } = await addLoaded(options, plan.added, signal));
    await faultPoint('streams loaded');
    if (follower.streams.isOvertaken || plan.kept.some((stream) => isVoid(stream.plan as StreamPlan))) {
      throw new AppError('SCHEMA_RELOADING', { internal: 'changed again' });
    }
    const numbers = (streams: readonly StreamRecord[]) => streams.map(({ stream }) => stream);
    await follower.switchTo([...plan.kept, ...added], async () => {
      await store.switchStreams(project, token, epoch.epoch, { show: numbers(added), drop: numbers(plan.dropped) });
      options.voidTables.clear();
    });
    events.switched(project, epoch.epoch);
  } catch (error) {
    // Dropping streams lifts the hold, which would show the void ones: then only a new epoch helps.
    if (options.voidTables.size > 0) throw new AppError('SCHEMA_RELOADING', { cause: error });
    await dropLoading(holding, epoch).catch(() => {});
    throw error;
  } finally {
    wakeUps.publish({ kind: 'streams', project });
    follower.setStreams(await streamsInUse(holding, epoch).catch(() => inUse));
  }
  await follower.heartbeat();
  await writeCopiedShapes(session, publication, { ...(await readCopiedShapes(session, publication)), ...shapes });
  await narrowPublication(session, publication, wanted);
  onProgress({ step: 'live', rowsDone: 0, rowsEstimate: 0 });
}

/** Adds the streams, copies their tables, and waits until they can be shown. */
export async function addLoaded(
  options: Pick<RedeployOptions, 'holding' | 'epoch' | 'follower' | 'onProgress' | 'onQueueCleared'>,
  plans: readonly StreamPlan[],
  signal: AbortSignal,
): Promise<{ readonly streams: readonly StreamRecord[]; readonly shapes: TableShapes }> {
  const { holding, epoch, follower, onProgress } = options;
  const { dependencies, project, token } = holding;
  const { store, wakeUps, randomHex, faultPoint } = dependencies;
  let streams: readonly StreamRecord[] = [];
  const activate = async (commitLsn: Lsn): Promise<void> => {
    streams = await store.addStreams(project, token, epoch.epoch, plans.map(newStream), commitLsn);
    wakeUps.publish({ kind: 'streams', project });
  };
  try {
    await follower.activate(randomHex(8), plans, activate, signal);
    await faultPoint('streams activated');
    onProgress({ step: 'slot', rowsDone: 0, rowsEstimate: 0 });
    const { snapshot, point } = await openBackfill(holding);
    let shapes: TableShapes = {};
    {
      await using _snapshot = snapshot;
      const numbers = streams.map(({ stream }) => stream);
      await store.setBackfillPoint(project, token, numbers, point);
      wakeUps.publish({ kind: 'streams', project });
      follower.barriersUntil(point);
      const { onQueueCleared } = options;
      const copy = { dependencies, project, token, epoch: epoch.epoch, streams, point, snapshot };
      await copyTables(
        {
          ...copy,
          slot: epoch.identity.slot,
          described: async (_session, found) => {
            shapes = found;
          },
          onProgress: ({ rowsDone, rowsEstimate }) => onProgress({ step: 'snapshot', rowsDone, rowsEstimate }),
          onQueueCleared,
        },
        signal,
      );
    }
    await follower.reached(await settledAt(store, project, epoch.epoch, point), signal);
    signal.throwIfAborted();
    return { streams, shapes };
  } catch (error) {
    follower.barriersUntil(undefined);
    throw error;
  }
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
  const sessions = dependencies.tuning.copySessions;
  return {
    snapshot: await openSnapshot(connection, { snapshot: slot.snapshot, sessions }),
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

/** Drops generations that a load was cut off from; they were never visible. */
export async function dropLoading(holding: Holding, epoch: EpochRecord): Promise<void> {
  const { dependencies, project, token } = holding;
  const loading = (await streamsInUse(holding, epoch)).filter((stream) => stream.visibleAfter === undefined);
  if (loading.length === 0) return;
  const drop = loading.map(({ stream }) => stream);
  await dependencies.store.switchStreams(project, token, epoch.epoch, { show: [], drop });
  dependencies.wakeUps.publish({ kind: 'streams', project });
}

/** The generations of an epoch that are not dropped. */
export async function streamsInUse(holding: Holding, epoch: EpochRecord): Promise<StreamRecord[]> {
  const streams = await holding.dependencies.store.readStreams(holding.project);
  return streams.filter((stream) => stream.epoch === epoch.epoch && stream.droppedAfter === undefined);
}

import type { EpochRecord } from '@sluice/bucket-store';
import { type Clock, delay, type Lsn, lsnFromBigint, type ProjectId, parseLsn } from '@sluice/domain';
import { AppError } from '@sluice/errors';
import type { SourceConnection } from '@sluice/source-connection';
import type { SourceTable } from '@sluice/sync-rules';
import type { Dependencies } from './dependencies.ts';
import type { StartPoint } from './progress/start-point.ts';
import type { SourceSession } from './source/connection.ts';
import { identifySystem, timelineSwitch } from './source/identity.ts';
import { readPublication } from './source/publication.ts';
import { tableKey } from './source/quote.ts';
import type { ServerFacts } from './source/server-facts.ts';
import { readSlotState, type SlotState, terminateHolder } from './source/slot.ts';
import { readTableShapes } from './source/table-shapes.ts';

export interface StartCheckOptions {
  readonly dependencies: Dependencies;
  readonly session: SourceSession;
  readonly connection: SourceConnection;
  readonly facts: ServerFacts;
  readonly epoch: EpochRecord;
  readonly start: StartPoint;
  /** What the publication must hold. */
  readonly tables: readonly SourceTable[];
  readonly signal: AbortSignal;
}

/**
 * L2: makes sure that the source is the one that was followed, and that its slot continues where the store stands; and takes the
 * slot from whoever still streams it, which fencing has made harmless.
 * @throws AppError SLOT_LOST, SOURCE_HISTORY_CHANGED or PUBLICATION_CHANGED when the epoch cannot go on
 */
export async function checkStart(options: StartCheckOptions): Promise<void> {
  const { session, facts, epoch, start, connection } = options;
  const { identity } = epoch;
  const system = await identifySystem(connection);
  if (system.systemId !== identity.systemId || facts.databaseOid !== identity.databaseOid) {
    throw changed('another server or database');
  }
  const switched = await timelineSwitch(connection, { from: identity.timeline, to: system.timeline });
  if (switched < start.applied) throw changed('another timeline');
  if ((await currentLsn(session)) < start.applied) throw changed('the source is behind the store');
  await checkPublication(session, identity.publication, options.tables);
  const slot = await readSlotState(session, identity.slot);
  if (!slot || slot.isLost) throw new AppError('SLOT_LOST', { details: { slot: identity.slot } });
  checkConfirmed(slot, start);
  if (slot.activePid !== undefined) await takeSlot(session, identity.slot, options.dependencies.clock, options.signal);
}

function checkConfirmed(slot: SlotState, start: StartPoint): void {
  if (slot.confirmed !== undefined && slot.confirmed > confirmedMax(start)) throw changed('the slot was moved');
}

/**
 * Nothing beyond the barrier before the last may have been confirmed; without such a barrier, nothing beyond the last. A slot of
 * which nothing is durable yet stands where it was made, at the consistent point right above the epoch's start.
 */
function confirmedMax(start: StartPoint): Lsn {
  if (!start.mustRepeat) return lsnFromBigint(start.applied + 1n);
  return start.confirmedMax ?? start.applied;
}

async function checkPublication(
  session: SourceSession,
  publication: string,
  tables: readonly SourceTable[],
): Promise<void> {
  const state = await readPublication(session, publication);
  const published = new Set(state?.tables.map(tableKey));
  const missing = tables.filter((table) => !published.has(tableKey(table)));
  if (!state?.isIntact || missing.length > 0) {
    throw new AppError('PUBLICATION_CHANGED', { internal: `missing: ${missing.map(tableKey).join()}` });
  }
}

const takeAttemptsMax = 50;
const takePauseMs = 100;

async function takeSlot(session: SourceSession, slot: string, clock: Clock, signal: AbortSignal): Promise<void> {
  for (let attempt = 0; attempt < takeAttemptsMax && !signal.aborted; attempt++) {
    await terminateHolder(session, slot);
    await delay(clock, takePauseMs, signal);
    if ((await readSlotState(session, slot))?.activePid === undefined) return;
  }
  throw new AppError('SOURCE_UNREACHABLE', { internal: 'somebody else keeps the slot' });
}

async function currentLsn(session: SourceSession): Promise<Lsn> {
  const [row] = await session.query<{ lsn: string }>('SELECT pg_catalog.pg_current_wal_insert_lsn()::text AS lsn');
  return parseLsn(row?.lsn ?? '0/0');
}

function changed(internal: string): AppError {
  return new AppError('SOURCE_HISTORY_CHANGED', { internal });
}

export interface WatchOptions {
  readonly dependencies: Dependencies;
  readonly project: ProjectId;
  readonly session: SourceSession;
  readonly epoch: EpochRecord;
  readonly tables: () => readonly SourceTable[];
  /** A table's definition or storage changed; nothing in the stream may say so. */
  readonly tableTouched: () => void;
  /** How much WAL the slot keeps, in bytes, when that is near a bound; undefined when it is not. */
  readonly walLow: (retainedBytes: number | undefined) => void;
}

/** Below this share of what the server lets a slot keep, somebody should act. */
const safeShareMin = 0.25;
/** And beyond this share of what we let it keep ourselves. */
const walShareMax = 0.5;

/**
 * Looks at slot, publication and tables as often as at heartbeats: losing them is silent, on some versions at least.
 * @throws AppError
 */
export async function watchSource(options: WatchOptions, signal: AbortSignal): Promise<void> {
  const { dependencies, project, session, epoch } = options;
  const { clock, heartbeatMs, events } = dependencies;
  let seenBefore = '';
  while (!signal.aborted) {
    const shapes = await readTableShapes(session, options.tables());
    // Our publication stands in the way of the customer's writes: whoever catches this drops it.
    const [refused] = Object.entries(shapes).find(([, shape]) => shape.refusesWrites) ?? [];
    if (refused !== undefined) throw new AppError('SOURCE_GENERATED_COLUMN', { details: { tables: refused } });
    const seen = JSON.stringify(shapes);
    // The first look counts as well: nobody watched while we were away.
    if (seen !== seenBefore) options.tableTouched();
    seenBefore = seen;
    await delay(clock, heartbeatMs, signal);
    if (signal.aborted) return;
    await checkPublication(session, epoch.identity.publication, options.tables());
    const slot = await readSlotState(session, epoch.identity.slot);
    if (!slot || slot.isLost) throw new AppError('SLOT_LOST', { details: { slot: epoch.identity.slot } });
    events.lag(project, slot.retainedBytes);
    const { safeBytes, retainedBytes } = slot;
    // L16: the customer's disk comes before our stream; whoever catches this drops the slot.
    if (retainedBytes > dependencies.tuning.walBytesMax) {
      throw new AppError('SOURCE_WAL_BUDGET', { details: { retainedBytes } });
    }
    const isUnsafe = safeBytes !== undefined && safeBytes < (safeBytes + retainedBytes) * safeShareMin;
    const isLow = isUnsafe || retainedBytes > dependencies.tuning.walBytesMax * walShareMax;
    if (isLow) events.walBudgetLow(project, retainedBytes);
    options.walLow(isLow ? retainedBytes : undefined);
  }
}

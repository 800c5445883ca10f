import type { CopyRangeRecord, EpochRecord, StreamRecord } from '@sluice/bucket-store';
import type { Lsn } from '@sluice/domain';
import type { StreamPlan } from '@sluice/sync-rules';
import type { StartedEpoch } from './epoch-start.ts';
import type { Holding } from './holding.ts';
import { openBackfill, streamsInUse } from './redeploy.ts';
import { columnsOfPlans, tablesOfPlans } from './schema/plan-tables.ts';
import { reshapedTables } from './schema/reshaped-tables.ts';
import { openSession, type SourceSession } from './source/connection.ts';
import { tableKey } from './source/quote.ts';
import { readSlotState } from './source/slot.ts';
import { readCopiedShapes, readTableShapes } from './source/table-shapes.ts';

export interface ResumeOptions {
  /** The epoch that was being built. */
  readonly epoch: EpochRecord;
  /** What it should show. */
  readonly plans: readonly StreamPlan[];
  /** Why everything is copied; empty for the first time. */
  readonly reason: string;
}

/**
 * L10: goes on with an epoch whose copy was cut off: what is done stays, and what is left is read under a new consistent point.
 * Undefined when it must begin again: the slot is lost, other streams are wanted, nothing was written down yet, or a table is no
 * longer the one that was copied. @throws AppError
 */
export async function resumeEpoch(holding: Holding, options: ResumeOptions): Promise<StartedEpoch | undefined> {
  const { epoch, plans, reason } = options;
  const { dependencies, project, token, condition } = holding;
  const { store, wakeUps, events } = dependencies;
  const streams = await streamsInUse(holding, epoch);
  const ranges = await rangesOf(holding, streams);
  if (!ranges || !isWanted(streams, plans)) return undefined;
  await using session = await openSession(await dependencies.sourceOf(project));
  const slot = await readSlotState(session, epoch.identity.slot);
  if (!slot || slot.isLost || !(await areTablesUntouched(session, epoch, plans))) return undefined;
  await condition.loading(reason, { slot: epoch.identity.slot, publication: epoch.identity.publication });
  const done = ranges.filter(({ point }) => point !== undefined).length;
  events.copyResumed(project, epoch.epoch, { done, left: ranges.length - done });
  if (done === ranges.length) return { epoch, streams, point: newestPoint(streams, ranges), snapshot: undefined };
  const { snapshot, point } = await openBackfill(holding);
  try {
    const numbers = streams.map(({ stream }) => stream);
    await store.resumeCopy(project, token, numbers, point);
    wakeUps.publish({ kind: 'streams', project });
    return { epoch, streams, point, snapshot };
  } catch (error) {
    await snapshot[Symbol.asyncDispose]();
    throw error;
  }
}

/** The ranges of every stream, or undefined unless all tables of all of them were planned. */
async function rangesOf(
  { dependencies, project }: Holding,
  streams: readonly StreamRecord[],
): Promise<readonly CopyRangeRecord[] | undefined> {
  const all: CopyRangeRecord[] = [];
  for (const stream of streams) {
    const ranges = await dependencies.store.readCopy(project, stream.stream);
    const planned = new Set(ranges.map(({ table }) => table));
    if (tablesOfPlans([planOf(stream)]).some((table) => !planned.has(tableKey(table)))) return undefined;
    all.push(...ranges);
  }
  return all.length === 0 ? undefined : all;
}

function isWanted(streams: readonly StreamRecord[], plans: readonly StreamPlan[]): boolean {
  const contentOf = ({ name, contentHash }: { readonly name: string; readonly contentHash: string }): string =>
    `${contentHash} ${name}`;
  const wanted = new Set(plans.map(contentOf));
  return streams.length === wanted.size && streams.every((stream) => wanted.has(contentOf(stream)));
}

/** A change while the copy's lock was gone may not be in the stream, and its rows are not those that were copied. */
async function areTablesUntouched(
  session: SourceSession,
  epoch: EpochRecord,
  plans: readonly StreamPlan[],
): Promise<boolean> {
  const tables = tablesOfPlans(plans);
  const copied = await readCopiedShapes(session, epoch.identity.publication);
  const now = await readTableShapes(session, tables);
  const isSameKey = (table: string): boolean =>
    copied[table] !== undefined &&
    copied[table].key === now[table]?.key &&
    copied[table].identity === now[table].identity;
  return tables.map(tableKey).every(isSameKey) && reshapedTables(copied, now, columnsOfPlans(plans)).size === 0;
}

function newestPoint(streams: readonly StreamRecord[], ranges: readonly CopyRangeRecord[]): Lsn {
  const points = [...streams.map(({ backfillPoint }) => backfillPoint), ...ranges.map(({ point }) => point)];
  return points.filter((point) => point !== undefined).reduce((a, b) => (b > a ? b : a));
}

function planOf(stream: StreamRecord): StreamPlan {
  // Plans are written by the rules compiler and come back as they were stored.
  return stream.plan as StreamPlan;
}

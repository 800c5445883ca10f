import type { CopyRangeRecord, EpochRecord, StreamRecord } from '@sluice/bucket-store';
import type { Lsn, StreamNo } from '@sluice/domain';
import type { StreamPlan } from '@sluice/sync-rules';
import type { Holding } from './holding.ts';
import { contentOf } from './schema/deployment-plan.ts';
import { columnsOfPlans, planOf, tablesOfPlans } from './schema/plan-tables.ts';
import { reshapedTables } from './schema/reshaped-tables.ts';
import type { SourceSession } from './source/connection.ts';
import { tableKey } from './source/quote.ts';
import { readCopiedShapes, readTableShapes } from './source/table-shapes.ts';

/** The ranges of every stream's copy, or undefined unless all tables of all of them were planned. */
export async function plannedRanges(
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

/**
 * Goes on with the copy of streams under a new point. Those whose copy is complete keep theirs: nothing more is read for them, and
 * their sums are right as they are. @throws AppError
 */
export async function resumeUnder(
  { dependencies, project, token }: Holding,
  streams: readonly StreamNo[],
  point: Lsn,
): Promise<void> {
  const { store } = dependencies;
  const unfinished: StreamNo[] = [];
  for (const stream of streams)
    if ((await store.readCopy(project, stream)).some((range) => range.point === undefined)) unfinished.push(stream);
  await store.resumeCopy(project, token, unfinished, point);
}

/** Whether the streams are those that the plans make, and no others. */
export function isOfPlans(streams: readonly StreamRecord[], plans: readonly StreamPlan[]): boolean {
  const wanted = new Set(plans.map(contentOf));
  return streams.length === wanted.size && streams.every((stream) => wanted.has(contentOf(stream)));
}

/**
 * Whether the tables are still what was written down when they were copied. A change while the copy's lock was gone may not be in the
 * stream, and its rows are not those that were copied. @throws AppError
 */
export async function areTablesUntouched(
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

/** The newest point that anything of the copy was read under. */
export function newestPoint(streams: readonly StreamRecord[], ranges: readonly CopyRangeRecord[]): Lsn {
  const points = [...streams.map(({ backfillPoint }) => backfillPoint), ...ranges.map(({ point }) => point)];
  return points.filter((point) => point !== undefined).reduce((a, b) => (b > a ? b : a));
}

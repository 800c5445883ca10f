import { AppError } from '@sluice/errors';
import type { StreamPlan } from '@sluice/sync-rules';
import { columnsOfPlans, tablesOfPlans } from './schema/plan-tables.ts';
import { reshapedTables } from './schema/reshaped-tables.ts';
import type { SourceSession } from './source/connection.ts';
import { tableKey } from './source/quote.ts';
import {
  readCopiedShapes,
  readTableShapes,
  type TableShape,
  type TableShapes,
  withEmptyParts,
  writeCopiedShapes,
} from './source/table-shapes.ts';

/**
 * The tables, as `schema.table`, whose rows may no longer be those that the plans' streams have copied, though the streams can
 * still read them. @throws AppError SCHEMA_RELOADING when a partition tells its rows apart in another way than before
 */
export async function findReshaped(
  session: SourceSession,
  publication: string,
  plans: readonly StreamPlan[],
): Promise<ReadonlySet<string>> {
  const copied = await readCopiedShapes(session, publication);
  const now = await readTableShapes(session, tablesOfPlans(plans));
  // Of a partition nothing says so in the stream: a row without its old image would stop the worker.
  const changed = Object.entries(now).find(([table, shape]) => isOtherIdentity(copied[table], shape));
  if (changed) throw new AppError('SCHEMA_RELOADING', { internal: `replica identity within ${changed[0]}` });
  const known = await withEmptyParts(session, copied, now);
  // Written down while they are empty: later rows could not be told from rows that they brought along.
  if (JSON.stringify(known) !== JSON.stringify(copied)) await writeCopiedShapes(session, publication, known);
  return reshapedTables(known, now, columnsOfPlans(plans));
}

/** Whether tables are no longer what they were when they were copied for the plans' streams, which nobody sees yet. @throws AppError */
export async function isReshapedSince(
  session: SourceSession,
  copied: TableShapes,
  plans: readonly StreamPlan[],
): Promise<boolean> {
  const tables = tablesOfPlans(plans).filter((table) => copied[tableKey(table)] !== undefined);
  if (tables.length === 0) return false;
  return reshapedTables(copied, await readTableShapes(session, tables), columnsOfPlans(plans)).size > 0;
}

function isOtherIdentity(copied: TableShape | undefined, now: TableShape): boolean {
  return copied !== undefined && Object.keys(now.parts ?? {}).length > 0 && copied.identity !== now.identity;
}

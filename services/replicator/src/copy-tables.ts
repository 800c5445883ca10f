import type { StreamRecord } from '@sluice/bucket-store';
import { delay, type Epoch, type LeaseToken, type Lsn, type ProjectId } from '@sluice/domain';
import { AppError } from '@sluice/errors';
import type { SourceTable, StreamPlan } from '@sluice/sync-rules';
import type { Dependencies } from './dependencies.ts';
import { SnapshotSender } from './publish/snapshot-sender.ts';
import { columnsOfPlans, readsTable, tablesOfPlans } from './schema/plan-tables.ts';
import { reshapedTables } from './schema/reshaped-tables.ts';
import { openSession, type SourceSession } from './source/connection.ts';
import { tableKey } from './source/quote.ts';
import { copyTable, describeTable, type SnapshotTable } from './source/snapshot.ts';
import { readTableShapes, type TableShapes } from './source/table-shapes.ts';

export interface CopyTablesOptions {
  readonly dependencies: Dependencies;
  readonly project: ProjectId;
  readonly token: LeaseToken;
  readonly epoch: Epoch;
  /** New generations, with their back-fill point set to `point`. */
  readonly streams: readonly StreamRecord[];
  readonly point: Lsn;
  /** Sees the source as of `point`. */
  readonly snapshot: SourceSession;
  readonly onProgress: (rowsDone: number, rowsEstimate: number) => void;
  /** Called with a function that publishes again what the queue forgot. */
  readonly onQueueCleared: (republish: () => void) => void;
}

const loadedPollMs = 200;

/**
 * L10: copies every table of the streams under one consistent point, through the same queue as the stream, and resolves when the
 * store holds all of it. Returns what the tables looked like. @throws AppError
 */
export async function copyTables(options: CopyTablesOptions, signal: AbortSignal): Promise<TableShapes> {
  const { dependencies, project, streams, snapshot } = options;
  const wanted = tablesOfPlans(streams.map(planOf));
  const tables: SnapshotTable[] = [];
  for (const table of wanted) tables.push(await describeTable(snapshot, table));
  const shapes = await readTableShapes(snapshot, wanted);
  await refuseRewritten(options, shapes);
  const progress = new CopyProgress(tables, options.onProgress);
  const sender = new SnapshotSender({ ...dependencies, project });
  options.onQueueCleared(() => sender.forgotten());
  try {
    for (const table of tables) await copyOne(options, table, sender, progress, signal);
  } finally {
    sender.close();
  }
  await allLoaded(options, signal);
  return shapes;
}

/**
 * A table that was rewritten between the point and our lock on it looks empty under the snapshot, or like some of itself.
 * @throws AppError SCHEMA_RELOADING
 */
async function refuseRewritten(
  { dependencies, project, streams }: CopyTablesOptions,
  copied: TableShapes,
): Promise<void> {
  const plans = streams.map(planOf);
  await using session = await openSession(await dependencies.sourceOf(project));
  const now = await readTableShapes(session, tablesOfPlans(plans));
  const [table] = reshapedTables(copied, now, columnsOfPlans(plans));
  if (table !== undefined)
    throw new AppError('SCHEMA_RELOADING', { internal: 'rewritten before it was copied', details: { table } });
}

async function copyOne(
  options: CopyTablesOptions,
  table: SnapshotTable,
  sender: SnapshotSender,
  progress: CopyProgress,
  signal: AbortSignal,
): Promise<void> {
  const { dependencies, project, token, epoch, point, snapshot } = options;
  const { tuning, events, clock, faultPoint } = dependencies;
  const startedMs = clock.monotonicMs();
  const streams = options.streams.filter((stream) => readsTable(planOf(stream), table)).map(({ stream }) => stream);
  const { schema, name } = table;
  let part = 0;
  let rows = 0;
  const { partBytesMax, rowBytesMax } = tuning;
  for await (const copied of copyTable(snapshot, { table, partBytesMax, rowBytesMax })) {
    signal.throwIfAborted();
    const { changes, last } = copied;
    await sender.send(
      {
        kind: 'snapshot',
        project,
        epoch,
        shard: 0,
        leaseToken: token,
        streams,
        pointLsn: point,
        schema,
        table: name,
        part: part++,
        last,
        changes,
      },
      signal,
    );
    await faultPoint('part sent');
    rows += copied.rows;
    progress.add(copied.rows);
    if (copied.rowsOversized > 0) events.rowsLeftOut(project, tableKey(table), copied.rowsOversized);
  }
  events.copied(project, tableKey(table), rows, clock.monotonicMs() - startedMs);
}

async function allLoaded({ dependencies, project, streams }: CopyTablesOptions, signal: AbortSignal): Promise<void> {
  const { store, clock } = dependencies;
  const wanted = new Map(streams.map(({ stream, plan }) => [stream, tablesOf(plan as StreamPlan)]));
  for (;;) {
    const records = (await store.readStreams(project)).filter(({ stream }) => wanted.has(stream));
    const isLoaded = (record: StreamRecord): boolean =>
      (wanted.get(record.stream) ?? []).every((table) => record.loadedTables.includes(table));
    if (records.length === wanted.size && records.every(isLoaded)) return;
    await delay(clock, loadedPollMs, signal);
    signal.throwIfAborted();
  }
}

function tablesOf(plan: StreamPlan): string[] {
  return tablesOfPlans([plan]).map((table: SourceTable) => tableKey(table));
}
function planOf(stream: StreamRecord): StreamPlan {
  // Plans are written by the rules compiler and come back as they were stored.
  return stream.plan as StreamPlan;
}

/** Rows copied so far, against an estimate that never falls behind what was copied. */
class CopyProgress {
  private readonly report: (rowsDone: number, rowsEstimate: number) => void;
  private readonly estimate: number;
  private done = 0;

  constructor(tables: readonly SnapshotTable[], report: (rowsDone: number, rowsEstimate: number) => void) {
    this.report = report;
    // A table that was never analysed has no estimate.
    this.estimate = tables.reduce((sum, table) => sum + Math.max(0, table.rowsEstimate), 0);
    this.report(0, this.estimate);
  }

  add(rows: number): void {
    this.done += rows;
    this.report(this.done, Math.max(this.estimate, this.done));
  }
}

import { type CopyRangeRecord, PARTS_PER_RANGE, RANGES_MAX, type StreamRecord } from '@sluice/bucket-store';
import { delay, type Epoch, type LeaseToken, type Lsn, type ProjectId } from '@sluice/domain';
import { AppError, assert } from '@sluice/errors';
import { CopyPace } from './copy-pace.ts';
import { CopyProgress, type CopyStatus } from './copy-progress.ts';
import type { Dependencies } from './dependencies.ts';
import { SnapshotSender } from './publish/snapshot-sender.ts';
import { runTogether } from './run-together.ts';
import { columnsOfPlans, planOf, readsTable, tablesOfPlans } from './schema/plan-tables.ts';
import { reshapedTables } from './schema/reshaped-tables.ts';
import { type ShardMap, shardMapOf } from './shard/shard-map.ts';
import { ChangeSplitter } from './shard/split-changes.ts';
import { openSession, type SourceSession } from './source/connection.ts';
import { CopyLocks, giveWay } from './source/copy-locks.ts';
import { planRanges } from './source/key-ranges.ts';
import { tableKey } from './source/quote.ts';
import { readConfirmedLag } from './source/slot.ts';
import { copyRange, describeTable, type Snapshot, type SnapshotTable } from './source/snapshot.ts';
import { readTableShapes, type TableShapes } from './source/table-shapes.ts';

export interface CopyTablesOptions {
  readonly dependencies: Dependencies;
  readonly project: ProjectId;
  readonly token: LeaseToken;
  readonly epoch: Epoch;
  /** New generations, the newest point of their copy set to `point`. */
  readonly streams: readonly StreamRecord[];
  readonly point: Lsn;
  /** Sees the source as of `point`. */
  readonly snapshot: Snapshot;
  /** The slot that is streamed meanwhile. */
  readonly slot: string;
  /** What the tables look like: they are kept so until the snapshot ends. Awaited before anything is copied. */
  readonly described: (session: SourceSession, shapes: TableShapes) => Promise<void>;
  readonly onProgress: (status: CopyStatus) => void;
  /** Called with a function that publishes again what the queue forgot. */
  readonly onQueueCleared: (republish: () => void) => void;
}

const loadedPollMs = 200;

/** A range that is still to be copied. */
interface CopyTask {
  readonly table: SnapshotTable;
  readonly range: CopyRangeRecord;
}
interface CopyRun extends CopyTablesOptions {
  readonly sender: SnapshotSender;
  readonly progress: CopyProgress;
  readonly pace: CopyPace;
  readonly shares: PartShares;
}

/**
 * L10: copies what is not copied yet of the streams' tables, range by range, a few side by side, under one consistent point and
 * through the same queue as the stream; resolves when the store holds all of it. @throws AppError
 */
export async function copyTables(options: CopyTablesOptions, signal: AbortSignal): Promise<void> {
  const { dependencies, project, streams, snapshot } = options;
  const [session] = snapshot.sessions;
  assert(session, 'a snapshot has a session');
  const wanted = tablesOfPlans(streams.map(planOf));
  const tables: SnapshotTable[] = [];
  for (const table of wanted) tables.push(await describeTable(session, table));
  // Those of the snapshot are busy copying.
  await using control = await openSession(await dependencies.sourceOf(project));
  const shapes = await readTableShapes(session, wanted);
  await refuseRewritten(options, control, shapes);
  await options.described(control, shapes);
  const planned: PlannedTable[] = [];
  for (const table of tables) planned.push({ table, ranges: await rangesOf(options, session, table) });
  const sender = new SnapshotSender({ ...dependencies, project });
  const run: CopyRun = {
    ...options,
    sender,
    progress: new CopyProgress(dependencies.clock, planned.map(estimateOf), options.onProgress),
    pace: newPace(options, control),
    shares: await PartShares.open(options),
  };
  options.onQueueCleared(() => sender.forgotten());
  await dependencies.faultPoint('copy planned');
  const { clock, tuning } = dependencies;
  await runTogether(signal, [
    (stop) => copyUntilLoaded(run, planned.flatMap(tasksOf), stop),
    (stop) => giveWay(control, { clock, pids: snapshot.pids, afterMs: tuning.copyLockWaitMs }, stop),
  ]);
  signal.throwIfAborted();
}

async function copyUntilLoaded(run: CopyRun, tasks: readonly CopyTask[], signal: AbortSignal): Promise<void> {
  const { sender } = run;
  try {
    await copyAll(run, tasks, signal);
    await sender.drained(signal);
  } finally {
    sender.close();
  }
  await allLoaded(run, signal);
}

/**
 * A table that was rewritten between the point and our lock on it looks empty under the snapshot, or like some of itself.
 * @throws AppError SCHEMA_RELOADING
 */
async function refuseRewritten(
  { streams }: CopyTablesOptions,
  control: SourceSession,
  copied: TableShapes,
): Promise<void> {
  const plans = streams.map(planOf);
  const now = await readTableShapes(control, tablesOfPlans(plans));
  const [table] = reshapedTables(copied, now, columnsOfPlans(plans));
  if (table !== undefined)
    throw new AppError('SCHEMA_RELOADING', { internal: 'rewritten before it was copied', details: { table } });
}

interface PlannedTable {
  readonly table: SnapshotTable;
  readonly ranges: readonly CopyRangeRecord[];
}

/** The ranges of a table's copy: those that were written down before, or else new ones, which are written down. */
async function rangesOf(
  { dependencies, project, token, streams }: CopyTablesOptions,
  session: SourceSession,
  table: SnapshotTable,
): Promise<readonly CopyRangeRecord[]> {
  const { store, tuning } = dependencies;
  const readers = streams.filter((stream) => readsTable(planOf(stream), table)).map(({ stream }) => stream);
  const [first] = readers;
  assert(first !== undefined, 'a table that is copied has a stream');
  const key = tableKey(table);
  const known = (await store.readCopy(project, first)).filter((range) => range.table === key);
  if (known.length > 0) return known;
  const ranges = await planRanges(session, table, { rangeBytes: tuning.copyRangeBytes, rangesMax: RANGES_MAX });
  await store.planCopy(project, token, readers, { table: key, ranges });
  return ranges.map((range, number) => ({ ...range, table: key, range: number, point: undefined }));
}

function tasksOf({ table, ranges }: PlannedTable): CopyTask[] {
  return ranges.filter(({ point }) => point === undefined).map((range) => ({ table, range }));
}
function estimateOf({ table, ranges }: PlannedTable): SnapshotTable & { readonly shareDone: number } {
  return { ...table, shareDone: ranges.filter(({ point }) => point !== undefined).length / ranges.length };
}

function newPace({ dependencies, slot }: CopyTablesOptions, control: SourceSession): CopyPace {
  const { clock, tuning } = dependencies;
  return new CopyPace({
    clock,
    bytesPerSecondMax: tuning.copyBytesPerSecondMax,
    lagBytesMax: tuning.copyLagBytesMax,
    readLagBytes: () => readConfirmedLag(control, slot),
  });
}

/**
 * Each session takes the next range when it is done with one. Those beside the first, which holds the tables, end when they cannot
 * lock the table of the next one as well, and leave it to the others.
 */
async function copyAll(run: CopyRun, tasks: readonly CopyTask[], signal: AbortSignal): Promise<void> {
  const waiting = [...tasks];
  let working = 0;
  const everybody = run.snapshot.sessions.map((session, number) => async (stop: AbortSignal): Promise<void> => {
    const locks = new CopyLocks(session);
    working++;
    for (let task = waiting[0]; task; task = waiting[0]) {
      if (number > 0 && !(await locks.tryLock(task.table))) break;
      // Somebody else took it meanwhile.
      if (task !== waiting[0]) continue;
      waiting.shift();
      await copyOne(run, session, task, stop);
    }
    working--;
    // Whoever ends first must not stop the others.
    if (working > 0) await aborted(stop);
  });
  await runTogether(signal, everybody);
  signal.throwIfAborted();
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

async function copyOne(run: CopyRun, session: SourceSession, task: CopyTask, signal: AbortSignal): Promise<void> {
  const { dependencies, project, token, epoch, point, sender, progress, pace, shares } = run;
  const { tuning, events, clock, faultPoint } = dependencies;
  const { table, range } = task;
  const startedMs = clock.monotonicMs();
  const streams = run.streams.filter((stream) => readsTable(planOf(stream), table)).map(({ stream }) => stream);
  const { schema, name } = table;
  let part = range.range * PARTS_PER_RANGE;
  let rows = 0;
  const { partBytesMax, rowBytesMax } = tuning;
  for await (const copied of copyRange(session, { table, range, partBytesMax, rowBytesMax })) {
    signal.throwIfAborted();
    await pace.admit(copied.changes.length, signal);
    const pieces = shares.of(copied.changes);
    for (const [i, { shard, changes }] of pieces.entries()) {
      assert(part < (range.range + 1) * PARTS_PER_RANGE, 'a range has not too many parts');
      const last = copied.last && i === pieces.length - 1;
      const of = { project, epoch, shard, leaseToken: token, streams, pointLsn: point, schema, table: name };
      await sender.send({ kind: 'snapshot', ...of, part: part++, last, changes }, signal);
      await faultPoint('part sent');
    }
    rows += copied.rows;
    progress.add(copied.rows, copied.changes.length);
    if (copied.rowsOversized > 0) events.rowsLeftOut(project, tableKey(table), copied.rowsOversized);
  }
  events.copied(project, tableKey(table), rows, clock.monotonicMs() - startedMs);
}

async function allLoaded({ dependencies, project, streams }: CopyTablesOptions, signal: AbortSignal): Promise<void> {
  const { store, clock } = dependencies;
  const wanted = new Map(streams.map((stream) => [stream.stream, tablesOfPlans([planOf(stream)]).map(tableKey)]));
  for (;;) {
    const records = (await store.readStreams(project)).filter(({ stream }) => wanted.has(stream));
    const isLoaded = (record: StreamRecord): boolean =>
      (wanted.get(record.stream) ?? []).every((table) => record.loadedTables.includes(table));
    if (records.length === wanted.size && records.every(isLoaded)) return;
    await delay(clock, loadedPollMs, signal);
    signal.throwIfAborted();
  }
}

/**
 * Divides the parts of a copy as the stream is divided, so that one worker sees all there is of a row. The map does not change
 * while rows are copied (L4).
 */
class PartShares {
  private readonly splitter: ChangeSplitter | undefined;

  private constructor(map: ShardMap) {
    this.splitter = map.shards > 1 ? new ChangeSplitter(map) : undefined;
  }

  /** @throws AppError STORE_FENCED when the epoch is gone */
  static async open({ dependencies, project, epoch }: CopyTablesOptions): Promise<PartShares> {
    const source = await dependencies.store.readSource(project);
    const record = [source?.serving, source?.building].find((candidate) => candidate?.epoch === epoch);
    if (!record) throw new AppError('STORE_FENCED', { internal: 'the epoch is gone' });
    return new PartShares(shardMapOf(record));
  }

  /** The shares that have rows; one without, if none has. */
  of(changes: Uint8Array): { readonly shard: number; readonly changes: Uint8Array }[] {
    if (!this.splitter) return [{ shard: 0, changes }];
    const shares = this.splitter.split(changes).map((share, shard) => ({ shard, changes: share }));
    const filled = shares.filter((share) => share.changes.length > 0);
    return filled.length > 0 ? filled : shares.slice(0, 1);
  }
}

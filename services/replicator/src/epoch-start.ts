import type { EpochRecord, SourceRecord, StreamRecord } from '@sluice/bucket-store';
import { barrierAt, type Lsn, lsnFromBigint } from '@sluice/domain';
import { AppError, assert } from '@sluice/errors';
import type { SourceConnection } from '@sluice/source-connection';
import type { SourceTable, StreamPlan } from '@sluice/sync-rules';
import type { DeployJob } from './deploy-jobs.ts';
import type { Holding } from './holding.ts';
import { tablesOfPlans } from './schema/plan-tables.ts';
import { firstMisfit } from './schema/relation-fit.ts';
import { readCatalog } from './source/catalog.ts';
import { openSession, type SourceSession } from './source/connection.ts';
import { identifySystem } from './source/identity.ts';
import { isOwnName, type SourceNames, sourceNames } from './source/names.ts';
import { preflight, preflightError } from './source/preflight.ts';
import { createPublication, dropPublication } from './source/publication.ts';
import { quoteTable } from './source/quote.ts';
import { readServerFacts } from './source/server-facts.ts';
import { type CreatedSlot, createSlot, dropSlot } from './source/slot.ts';
import { openSnapshot, type Snapshot } from './source/snapshot.ts';

/** An epoch that was opened and whose streams wait for their copy. */
export interface StartedEpoch {
  readonly epoch: EpochRecord;
  readonly streams: readonly StreamRecord[];
  readonly point: Lsn;
  /** Sees the source as of `point`; whoever copies ends it. Undefined when everything was copied before. */
  readonly snapshot: Snapshot | undefined;
}

export interface EpochStartOptions {
  readonly plans: readonly StreamPlan[];
  /** Why everything is copied; empty for the first time. */
  readonly reason: string;
  readonly job: DeployJob | undefined;
}

/**
 * Makes a publication of exactly the plans' tables and then a slot, and opens an epoch at its consistent point. In that order:
 * on older servers a slot that is older than its publication cannot be read. Every table is judged before it is published.
 * @throws AppError; then nothing of the new epoch is left on the source, or the next start removes it
 */
export async function startEpoch(holding: Holding, options: EpochStartOptions): Promise<StartedEpoch> {
  const { dependencies, project, condition } = holding;
  const { plans, reason, job } = options;
  const { faultPoint, randomHex } = dependencies;
  const connection = await dependencies.sourceOf(project);
  const tables = tablesOfPlans(plans);
  job?.onProgress({ step: 'publication', rowsDone: 0, rowsEstimate: 0 });
  await refuseUnfit(connection, plans);
  await using session = await openSession(connection);
  const names = sourceNames(project, randomHex(8));
  // Written down before it is made: a crash in between must not leave a slot that fills the customer's disk.
  await condition.loading(reason, { slot: names.slot, publication: names.publication });
  await faultPoint('epoch intended');
  await createPublication(session, names.publication, tables);
  await faultPoint('publication created');
  job?.onProgress({ step: 'slot', rowsDone: 0, rowsEstimate: 0 });
  await using slot = await createSlot({
    connection,
    slot: names.slot,
    isTemporary: false,
    survivesFailover: dependencies.tuning.failoverSlots,
    deadlineMs: dependencies.tuning.slotDeadlineMs,
    clock: dependencies.clock,
  });
  await faultPoint('slot created');
  return await openEpoch(holding, { connection, session, names, slot, plans, tables, reason });
}

async function openEpoch(
  holding: Holding,
  made: {
    readonly connection: SourceConnection;
    readonly session: SourceSession;
    readonly names: SourceNames;
    readonly slot: CreatedSlot;
    readonly plans: readonly StreamPlan[];
    readonly tables: readonly SourceTable[];
    readonly reason: string;
  },
): Promise<StartedEpoch> {
  const { dependencies, project, token } = holding;
  const { store, wakeUps, events } = dependencies;
  const { connection, session, names, slot, plans } = made;
  // The next command on the slot's own session ends the snapshot; this is another one.
  const { copySessions: sessions, copyLockWaitMs: lockWaitMs } = dependencies.tuning;
  const snapshot = await openSnapshot(connection, { snapshot: slot.snapshot, sessions, lockWaitMs });
  try {
    const point = slot.consistentPoint;
    const before = lsnFromBigint(point - 1n);
    const identity = {
      ...names,
      ...(await identifySystem(connection)),
      databaseOid: (await readServerFacts(session)).databaseOid,
    };
    const source = await store.readSource(project);
    const shards = (source?.serving ?? source?.building)?.shards.length ?? dependencies.shards;
    const epoch = await store.openEpoch(project, token, identity, barrierAt(before), shards);
    const streams = await store.addStreams(project, token, epoch, plans.map(newStream), before);
    await store.setBackfillPoint(
      project,
      token,
      streams.map(({ stream }) => stream),
      point,
    );
    wakeUps.publish({ kind: 'streams', project });
    events.epochOpened(project, epoch, made.reason);
    const record = (await store.readSource(project))?.building;
    assert(record?.epoch === epoch, 'the epoch that was opened is the one being built');
    return { epoch: record, streams, point, snapshot };
  } catch (error) {
    await snapshot[Symbol.asyncDispose]();
    throw error;
  }
}

export function newStream(plan: StreamPlan): { name: string; contentHash: string; plan: unknown } {
  return { name: plan.name, contentHash: plan.contentHash, plan };
}

/** Drops what earlier epochs of this project have on the source, and what a start that was cut off meant to make. */
export async function dropLeftovers(
  holding: Holding,
  session: SourceSession,
  source: SourceRecord | undefined,
  keep?: SourceNames,
): Promise<void> {
  const { project, dependencies } = holding;
  const { slot, publication } = source?.condition.details ?? {};
  const intended = typeof slot === 'string' && typeof publication === 'string' ? { slot, publication } : undefined;
  for (const names of [source?.serving?.identity, source?.building?.identity, intended]) {
    if (!names || names.slot === keep?.slot) continue;
    if (!isOwnName(project, names.slot) || !isOwnName(project, names.publication)) continue;
    await dropSlot(session, names.slot, dependencies.clock);
    await dropPublication(session, names.publication);
  }
}

/**
 * Judges the tables before anything is published, and the plans against the tables as they are now.
 * @throws AppError with the first problem; SCHEMA_CHANGING when the plans were made for other columns than there are now
 */
export async function refuseUnfit(connection: SourceConnection, plans: readonly StreamPlan[]): Promise<void> {
  const error = preflightError(await preflight(connection, tablesOfPlans(plans)));
  if (error) throw error;
  const misfit = firstMisfit(plans, await readCatalog(connection));
  if (misfit) throw new AppError('SCHEMA_CHANGING', { details: { table: quoteTable(misfit) } });
}

import type { EpochRecord } from '@sluice/bucket-store';
import type { StreamPlan } from '@sluice/sync-rules';
import type { StartedEpoch } from './epoch-start.ts';
import type { Holding } from './holding.ts';
import { openBackfill, streamsInUse } from './redeploy.ts';
import { areTablesUntouched, isOfPlans, newestPoint, plannedRanges, resumeUnder } from './resumable-copy.ts';
import { openSession } from './source/connection.ts';
import { readSlotState } from './source/slot.ts';

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
  const { dependencies, project, condition } = holding;
  const { wakeUps, events } = dependencies;
  const streams = await streamsInUse(holding, epoch);
  const ranges = await plannedRanges(holding, streams);
  if (!ranges || !isOfPlans(streams, plans)) return undefined;
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
    await resumeUnder(holding, numbers, point);
    wakeUps.publish({ kind: 'streams', project });
    return { epoch, streams, point, snapshot };
  } catch (error) {
    await snapshot[Symbol.asyncDispose]();
    throw error;
  }
}

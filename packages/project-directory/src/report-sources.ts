import type { BucketStore, SourceRecord } from '@sluice/bucket-store';
import type { SourceFinding } from '@sluice/database';
import { type Clock, delay, type ProjectId } from '@sluice/domain';
import { isCode } from '@sluice/errors';
import type { ProjectDirectory } from './project-directory.ts';

const LOOK_EVERY_MS = 2000;

export interface SourceReportOptions {
  readonly directory: ProjectDirectory;
  readonly store: BucketStore;
  readonly clock: Clock;
  /** Whose findings are carried; those of all unless given. */
  readonly isOurs?: (project: ProjectId) => boolean;
  /** A look that failed; the next one comes by itself. */
  readonly onError: (error: unknown) => void;
}

/** Carries what the replicator found out about its sources to the control plane, whose API shows it; until aborted. */
export async function reportSources(options: SourceReportOptions, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      await reportAll(options);
    } catch (error) {
      if (!signal.aborted) options.onError(error);
    }
    await delay(options.clock, LOOK_EVERY_MS, signal);
  }
}

async function reportAll({ directory, store, isOurs = () => true }: SourceReportOptions): Promise<void> {
  for (const { projectId, state, source } of await directory.listProjects()) {
    if (state !== 'active' || !source || !isOurs(projectId)) continue;
    const record = await store.readSource(projectId);
    const finding = record && findingFrom(record, source.revision);
    if (finding) await directory.reportSource(projectId, finding);
  }
}

/** Undefined while the source is being loaded: the provisioning job tells of that. */
export function findingFrom({ condition, serving }: SourceRecord, revision: number): SourceFinding | undefined {
  if (condition.state === 'loading') return undefined;
  const slot = serving && { slotName: serving.identity.slot, publicationName: serving.identity.publication };
  const shared = { revision, serverVersion: undefined, slot };
  if (condition.state === 'live') return { ...shared, state: 'live', problem: undefined };
  const code = isCode(condition.code) ? condition.code : 'API_INTERNAL';
  return { ...shared, state: 'failed', problem: { code, details: condition.details } };
}

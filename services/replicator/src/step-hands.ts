import type { BucketStore } from '@sluice/bucket-store';
import type { ProjectId } from '@sluice/domain';
import type { Held, Keeper } from '@sluice/membership';
import { type ProjectDirectory, sourceOf } from '@sluice/project-directory';
import type { SourceConnection } from '@sluice/source-connection';
import type { StepHands } from '@sluice/source-steps';
import type { CompiledRules, SourceTable } from '@sluice/sync-rules';
import { type AuditReport, auditFindings } from './audit.ts';
import type { DeployProgress } from './deploy-jobs.ts';
import type { readCatalog } from './source/catalog.ts';
import type { CheckResult } from './source/preflight.ts';
import type { estimateRows, explainRow, previewStreams } from './source/preview.ts';

/** What of the replicator the steps need. */
interface Steps {
  preflight(connection: SourceConnection, tables: readonly SourceTable[]): Promise<CheckResult[]>;
  readCatalog: typeof readCatalog;
  estimateRows: typeof estimateRows;
  previewStreams: typeof previewStreams;
  explainRow: typeof explainRow;
  deploy(
    project: ProjectId,
    deployment: { readonly rules: CompiledRules; readonly rulesVersion: number },
    onProgress: (progress: DeployProgress) => void,
    signal: AbortSignal,
  ): Promise<void>;
  reshard(project: ProjectId, shards: number, signal: AbortSignal): Promise<void>;
  audit(project: ProjectId, signal: AbortSignal): Promise<AuditReport>;
  release(project: ProjectId, signal: AbortSignal): Promise<void>;
}

/** Does the control plane's steps in this process: what needs the source's lease where it is, the others wherever they come. */
export function stepHands(parts: {
  readonly replicator: Steps;
  readonly keeper: Keeper;
  readonly directory: ProjectDirectory;
  readonly store: BucketStore;
}): StepHands {
  const { replicator, keeper, directory, store } = parts;

  /** Does what needs the project's source in the process that has it; a lease that is lost meanwhile is another's. */
  async function whereHeld<T>(
    project: ProjectId,
    work: (lost: AbortSignal) => Promise<T>,
    signal: AbortSignal,
  ): Promise<Held<T>> {
    const held = await keeper.whileHeld<Held<T>>(
      String(project),
      async (lost) => {
        try {
          return { kind: 'done', value: await work(lost) };
        } catch (error) {
          if (lost.aborted) return { kind: 'elsewhere' };
          throw error;
        }
      },
      signal,
    );
    return held.kind === 'done' ? held.value : held;
  }

  return {
    preflight: async (project, tables) => replicator.preflight(await sourceOf(directory, project), tables),
    catalog: async (project) => replicator.readCatalog(await sourceOf(directory, project)),
    estimateRows: async (project, tables) => replicator.estimateRows(await sourceOf(directory, project), tables),
    async preview(project, version, as) {
      const { streams } = await directory.rulesOf(project, version);
      return await replicator.previewStreams(await sourceOf(directory, project), streams, as);
    },
    async explain(project, version, as) {
      const { streams } = await directory.rulesOf(project, version);
      return await replicator.explainRow(await sourceOf(directory, project), streams, as);
    },
    async apply(project, version, onProgress, signal) {
      const rules = await directory.rulesOf(project, version);
      const report = ({ step, rowsDone, rowsEstimate }: DeployProgress): void =>
        onProgress({ step, done: rowsDone, estimate: rowsEstimate === 0 ? undefined : rowsEstimate });
      const deploy = (lost: AbortSignal): Promise<void> =>
        replicator.deploy(project, { rules, rulesVersion: version }, report, lost);
      return (await whereHeld(project, deploy, signal)).kind;
    },
    async reshard(project, shards, signal) {
      return (await whereHeld(project, (lost) => replicator.reshard(project, shards, lost), signal)).kind;
    },
    async audit(project, signal) {
      const audited = await whereHeld(project, (lost) => replicator.audit(project, lost), signal);
      return audited.kind === 'done' ? auditFindings(audited.value) : audited.kind;
    },
    async release(project, signal) {
      await keeper.drop(String(project));
      await replicator.release(project, signal);
      signal.throwIfAborted();
      await store.eraseProject(project);
    },
  };
}

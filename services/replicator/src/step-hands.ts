import type { BucketStore } from '@sluice/bucket-store';
import type { ProjectId } from '@sluice/domain';
import type { Keeper } from '@sluice/membership';
import type { ProjectDirectory } from '@sluice/project-directory';
import type { StepHands } from '@sluice/source-steps';
import type { CompiledRules, SourceTable } from '@sluice/sync-rules';
import type { DeployProgress } from './deploy-jobs.ts';
import type { readCatalog } from './source/catalog.ts';
import type { SourceConnection } from './source/connection.ts';
import type { CheckResult } from './source/preflight.ts';
import { sourceOf } from './source-of.ts';

/** What of the replicator the steps need. */
interface Steps {
  preflight(connection: SourceConnection, tables: readonly SourceTable[]): Promise<CheckResult[]>;
  readCatalog: typeof readCatalog;
  deploy(
    project: ProjectId,
    deployment: { readonly rules: CompiledRules; readonly rulesVersion: number },
    onProgress: (progress: DeployProgress) => void,
    signal: AbortSignal,
  ): Promise<void>;
  release(project: ProjectId, signal: AbortSignal): Promise<void>;
}

/** Does the control plane's steps in this process: a deploy where the source's lease is, the others wherever they come. */
export function stepHands(parts: {
  readonly replicator: Steps;
  readonly keeper: Keeper;
  readonly directory: ProjectDirectory;
  readonly store: BucketStore;
}): StepHands {
  const { replicator, keeper, directory, store } = parts;
  return {
    preflight: async (project, tables) => replicator.preflight(await sourceOf(directory, project), tables),
    catalog: async (project) => replicator.readCatalog(await sourceOf(directory, project)),
    async apply(project, version, onProgress, signal) {
      const rules = await directory.rulesOf(project, version);
      let isLost = false;
      const deploy = async (lost: AbortSignal): Promise<void> => {
        const report = ({ step, rowsDone, rowsEstimate }: DeployProgress): void =>
          onProgress({ step, done: rowsDone, estimate: rowsEstimate === 0 ? undefined : rowsEstimate });
        try {
          await replicator.deploy(project, { rules, rulesVersion: version }, report, lost);
        } catch (error) {
          isLost = lost.aborted;
          if (!isLost) throw error;
        }
      };
      const held = await keeper.whileHeld(String(project), deploy, signal);
      return held.kind === 'elsewhere' || isLost ? 'elsewhere' : 'done';
    },
    async release(project, signal) {
      await keeper.drop(String(project));
      await replicator.release(project, signal);
      signal.throwIfAborted();
      await store.eraseProject(project);
    },
  };
}

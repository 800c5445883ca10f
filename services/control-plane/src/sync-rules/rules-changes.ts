import type { Database, RulesRecord } from '@sluice/database';
import { planOf } from '@sluice/project-directory';
import type { ProvisioningProject, SourceProvisioner } from '@sluice/source-steps';
import { type CompiledRules, diffRules, type StreamPlan } from '@sluice/sync-rules';
import type { RulesChangesView } from './rules-tools-dto.ts';

const NOTHING: CompiledRules = { streams: [], tables: [] };

/** What deploying `next` would do to the streams that `old` has, with the rows that would be copied (L11). */
export async function changesBetween(
  old: RulesRecord | undefined,
  next: CompiledRules,
  source: { readonly provisioner: SourceProvisioner; readonly project: ProvisioningProject },
): Promise<RulesChangesView> {
  const { added, kept, dropped } = diffRules(old ? planOf(old) : NOTHING, next);
  const estimates =
    added.length === 0
      ? []
      : await source.provisioner.estimateRows(
          source.project,
          added.map(({ sourceTable }) => sourceTable),
        );
  const replaced = new Set(dropped.map(({ name }) => name));
  return {
    against: old?.version ?? null,
    added: added.map((plan, i) => ({
      ...viewOf(plan),
      replaces: replaced.has(plan.name),
      rowsEstimate: estimates[i] ?? 0,
    })),
    kept: kept.map(viewOf),
    dropped: dropped.map(viewOf),
  };
}

function viewOf({ name, table, sourceTable }: StreamPlan): RulesChangesView['kept'][number] {
  return { stream: name, table: table.name, source: `${sourceTable.schema}.${sourceTable.name}` };
}

/** The version to compare with: the one that was asked for, else the one in force. */
export async function versionToCompare(
  database: Database,
  projectId: RulesRecord['projectId'],
  asked: number | undefined,
): Promise<RulesRecord | undefined> {
  return asked === undefined ? await database.rules.active(projectId) : await database.rules.get(projectId, asked);
}

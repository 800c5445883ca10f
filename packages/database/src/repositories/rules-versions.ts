import type { ProjectId } from '@sluice/domain';
import { AppError } from '@sluice/errors';
import type { Prisma, PrismaClient } from '../generated/client.ts';
import { type Json, jsonColumn, jsonFromColumn } from '../json.ts';
import { lockActiveProject } from './lock-project.ts';

export type RulesState = 'draft' | 'validated' | 'deploying' | 'active' | 'superseded' | 'failed';

export interface RulesSummary {
  readonly version: number;
  readonly state: RulesState;
  /** Diagnostic[] as JSON. */
  readonly diagnostics: Json;
  readonly createdAt: Date;
  readonly activatedAt: Date | undefined;
}

export interface RulesRecord extends RulesSummary {
  readonly projectId: ProjectId;
  readonly yaml: string;
  /** CompiledRules as JSON; undefined for a draft. */
  readonly plan: Json | undefined;
}

/** The editions of each project's rules. Their later states are written by the provisioning jobs that deploy them. */
export class RulesVersions {
  readonly #prisma: PrismaClient;

  constructor(prisma: PrismaClient) {
    this.#prisma = prisma;
  }

  /**
   * Adds an edition under the next number: validated when it has a plan, else a draft.
   * @throws AppError PROJECT_NOT_FOUND, PROJECT_DELETING
   */
  async create(
    projectId: ProjectId,
    edition: { readonly yaml: string; readonly plan: Json | undefined; readonly diagnostics: Json },
  ): Promise<RulesRecord> {
    return await this.#prisma.$transaction(async (tx) => {
      await lockActiveProject(tx, projectId);
      const last = await tx.rulesVersion.findFirst({
        where: { projectId },
        orderBy: { version: 'desc' },
        select: { version: true },
      });
      const row = await tx.rulesVersion.create({
        data: {
          projectId,
          version: (last?.version ?? 0) + 1,
          yaml: edition.yaml,
          plan: jsonColumn(edition.plan),
          diagnostics: edition.diagnostics as Prisma.InputJsonValue, // The type asks for mutable JSON; Prisma only reads it.
          state: edition.plan === undefined ? 'draft' : 'validated',
        },
      });
      return recordFromRow(projectId, row);
    });
  }

  /** Keeps what a deploy made of an edition's text when the source's tables were no longer those it was checked against. */
  async replacePlan(projectId: ProjectId, version: number, plan: Json): Promise<void> {
    await this.#prisma.rulesVersion.updateMany({ where: { projectId, version }, data: { plan: jsonColumn(plan) } });
  }

  /** Newest first, at most `limit`. */
  async list(projectId: ProjectId, limit: number): Promise<readonly RulesSummary[]> {
    const rows = await this.#prisma.rulesVersion.findMany({
      where: { projectId },
      orderBy: { version: 'desc' },
      take: limit,
      omit: { yaml: true, plan: true },
    });
    return rows.map(summaryFromRow);
  }

  /** @throws AppError RULES_VERSION_NOT_FOUND */
  async get(projectId: ProjectId, version: number): Promise<RulesRecord> {
    const row = await this.#prisma.rulesVersion.findUnique({ where: { projectId_version: { projectId, version } } });
    if (!row) throw new AppError('RULES_VERSION_NOT_FOUND');
    return recordFromRow(projectId, row);
  }

  /** The edition that is in force; undefined before the first deploy has succeeded. */
  async active(projectId: ProjectId): Promise<RulesRecord | undefined> {
    const row = await this.#prisma.rulesVersion.findFirst({ where: { projectId, state: 'active' } });
    return row ? recordFromRow(projectId, row) : undefined;
  }
}

type SummaryRow = Omit<Prisma.RulesVersionGetPayload<object>, 'yaml' | 'plan'>;

function summaryFromRow(row: SummaryRow): RulesSummary {
  return {
    version: row.version,
    state: row.state,
    diagnostics: jsonFromColumn(row.diagnostics) ?? [],
    createdAt: row.createdAt,
    activatedAt: row.activatedAt ?? undefined,
  };
}

function recordFromRow(projectId: ProjectId, row: Prisma.RulesVersionGetPayload<object>): RulesRecord {
  return { ...summaryFromRow(row), projectId, yaml: row.yaml, plan: jsonFromColumn(row.plan) };
}

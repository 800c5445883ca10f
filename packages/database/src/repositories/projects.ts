import { randomBytes } from 'node:crypto';
import { type Clock, type ProjectId, parseProjectId } from '@sluice/domain';
import { AppError } from '@sluice/errors';
import type { Prisma, PrismaClient } from '../generated/client.ts';
import { type JobRecord, jobFromRow, jobWithSteps } from './job-record.ts';
import { lockProject } from './lock-project.ts';
import { type SourceRecord, sourceFromRow } from './sources.ts';

export interface ProjectRecord {
  readonly id: ProjectId;
  readonly ref: string;
  readonly name: string;
  readonly state: 'active' | 'deleting';
  readonly createdAt: Date;
}

/** A project with what a list of projects, a status page and a starting worker want to know of it. */
export interface ProjectOverview extends ProjectRecord {
  readonly source: SourceRecord | undefined;
  readonly hasClientAuth: boolean;
  readonly activeRulesVersion: number | undefined;
  /** The newest deploy or release: upkeep goes on while a project is served, and does not say how it is doing. */
  readonly latestJob: JobRecord | undefined;
}

/** Projects that are not deleted. A ref or an id that is unknown, deleted or another tenant's answers the same error. */
export class Projects {
  readonly #prisma: PrismaClient;
  readonly #clock: Clock;

  constructor(prisma: PrismaClient, clock: Clock) {
    this.#prisma = prisma;
    this.#clock = clock;
  }

  async create(name: string): Promise<ProjectRecord> {
    return recordFromRow(await this.#prisma.project.create({ data: { ref: randomRef(), name } }));
  }

  /** In order of creation, after the project `afterRef` when it is given; at most `limit`. */
  async list(options: { afterRef: string | undefined; limit: number }): Promise<readonly ProjectOverview[]> {
    const afterId = options.afterRef === undefined ? 0 : (await this.byRef(options.afterRef)).id;
    const rows = await this.#prisma.project.findMany({
      where: { id: { gt: afterId }, state: { not: 'deleted' } },
      orderBy: { id: 'asc' },
      take: options.limit,
      include: forOverview,
    });
    return rows.map(overviewFromRow);
  }

  /** @throws AppError PROJECT_NOT_FOUND */
  async overview(projectId: ProjectId): Promise<ProjectOverview> {
    const row = await this.#prisma.project.findFirst({
      where: { id: projectId, state: { not: 'deleted' } },
      include: forOverview,
    });
    if (!row) throw new AppError('PROJECT_NOT_FOUND');
    return overviewFromRow(row);
  }

  /** @throws AppError PROJECT_NOT_FOUND */
  async byRef(ref: string): Promise<ProjectRecord> {
    return found(await this.#prisma.project.findFirst({ where: { ref, state: { not: 'deleted' } } }));
  }

  /** @throws AppError PROJECT_NOT_FOUND */
  async byId(projectId: ProjectId): Promise<ProjectRecord> {
    return found(await this.#prisma.project.findFirst({ where: { id: projectId, state: { not: 'deleted' } } }));
  }

  /**
   * Erases everything the project owned, its sealed secrets first of all. Its row stays, so that its id and ref are
   * never given to anyone else.
   * @throws AppError PROJECT_NOT_FOUND
   */
  async erase(projectId: ProjectId): Promise<void> {
    await this.#prisma.$transaction(async (tx) => {
      await lockProject(tx, projectId);
      await tx.source.deleteMany({ where: { projectId } });
      await tx.clientAuth.deleteMany({ where: { projectId } });
      await tx.provisioningStep.deleteMany({ where: { projectId } });
      await tx.provisioningJob.deleteMany({ where: { projectId } });
      await tx.rulesVersion.deleteMany({ where: { projectId } });
      const deletedAt = new Date(this.#clock.nowMs());
      await tx.project.update({ where: { id: projectId }, data: { state: 'deleted', deletedAt } });
    });
  }
}

type ProjectRow = Prisma.ProjectGetPayload<object>;

const forOverview = {
  source: true,
  clientAuth: { select: { projectId: true } },
  rules: { where: { state: 'active' }, select: { version: true } },
  provisioning: {
    where: { kind: { in: ['deploy', 'release'] } },
    orderBy: { jobNo: 'desc' },
    take: 1,
    include: jobWithSteps,
  },
} as const satisfies Prisma.ProjectInclude;

function overviewFromRow(row: Prisma.ProjectGetPayload<{ include: typeof forOverview }>): ProjectOverview {
  const record = recordFromRow(row);
  const [job] = row.provisioning;
  return {
    ...record,
    source: row.source ? sourceFromRow(record.id, row.source) : undefined,
    hasClientAuth: row.clientAuth !== null,
    activeRulesVersion: row.rules[0]?.version,
    latestJob: job ? jobFromRow(job) : undefined,
  };
}

function found(row: ProjectRow | null): ProjectRecord {
  if (!row) throw new AppError('PROJECT_NOT_FOUND');
  return recordFromRow(row);
}

function recordFromRow(row: ProjectRow): ProjectRecord {
  const state = row.state === 'deleting' ? 'deleting' : 'active';
  return { id: parseProjectId(row.id), ref: row.ref, name: row.name, state, createdAt: row.createdAt };
}

/** `p` and 19 characters of Crockford's base 32 in lower case: 95 random bits. */
function randomRef(): string {
  const alphabet = '0123456789abcdefghjkmnpqrstvwxyz';
  return `p${Array.from(randomBytes(19), (byte) => alphabet[byte & 31]).join('')}`;
}

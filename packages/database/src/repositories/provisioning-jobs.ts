import { type Clock, type ProjectId, parseProjectId } from '@sluice/domain';
import { AppError } from '@sluice/errors';
import { type CodedProblem, problemColumns } from '../coded-problem.ts';
import type { Prisma, PrismaClient } from '../generated/client.ts';
import { type Json, jsonColumn } from '../json.ts';
import {
  type JobHold,
  type JobKind,
  type JobRecord,
  jobFromRow,
  jobWithSteps,
  STEPS_BY_KIND,
  type StepName,
} from './job-record.ts';
import { lockActiveProject, lockProject } from './lock-project.ts';
import { type SourceFinding, writeFinding } from './sources.ts';

/**
 * Long work on a source, in visible steps. These rows are the truth; a queue only says when to run them. At most one
 * job of a project is unfinished. Whoever runs a job holds it by its attempt number: a later `begin` takes it over,
 * and from then on every write of the earlier holder fails with JOB_SUPERSEDED.
 */
export class ProvisioningJobs {
  readonly #prisma: PrismaClient;
  readonly #clock: Clock;

  constructor(prisma: PrismaClient, clock: Clock) {
    this.#prisma = prisma;
    this.#clock = clock;
  }

  /**
   * @throws AppError PROJECT_NOT_FOUND, PROJECT_DELETING, SOURCE_NOT_SET, RULES_VERSION_NOT_FOUND,
   *   RULES_VERSION_NOT_DEPLOYABLE, PROJECT_BUSY
   */
  async enqueueDeploy(projectId: ProjectId, version: number): Promise<JobRecord> {
    return await this.#prisma.$transaction(async (tx) => {
      await lockActiveProject(tx, projectId);
      const source = await tx.source.findUnique({ where: { projectId }, select: { projectId: true } });
      if (!source) throw new AppError('SOURCE_NOT_SET');
      const rules = await tx.rulesVersion.findUnique({
        where: { projectId_version: { projectId, version } },
        select: { state: true },
      });
      if (!rules) throw new AppError('RULES_VERSION_NOT_FOUND');
      if (rules.state === 'draft') throw new AppError('RULES_VERSION_NOT_DEPLOYABLE');
      if (await findUnfinished(tx, projectId)) throw new AppError('PROJECT_BUSY');
      // The edition in force stays in force while it is provisioned once more.
      if (rules.state !== 'active')
        await tx.rulesVersion.update({
          where: { projectId_version: { projectId, version } },
          data: { state: 'deploying' },
        });
      return await createJob(tx, projectId, { kind: 'deploy', rulesVersion: version });
    });
  }

  /**
   * Work on a project that is served and stays so.
   * @throws AppError PROJECT_NOT_FOUND, PROJECT_DELETING, PROJECT_NOT_SERVED, PROJECT_BUSY
   */
  async enqueueUpkeep(
    projectId: ProjectId,
    work: { readonly kind: 'reshard'; readonly shards: number } | { readonly kind: 'audit' },
  ): Promise<JobRecord> {
    return await this.#prisma.$transaction(async (tx) => {
      await lockActiveProject(tx, projectId);
      const active = await tx.rulesVersion.findFirst({
        where: { projectId, state: 'active' },
        select: { version: true },
      });
      if (!active) throw new AppError('PROJECT_NOT_SERVED');
      if (await findUnfinished(tx, projectId)) throw new AppError('PROJECT_BUSY');
      return await createJob(tx, projectId, work);
    });
  }

  /**
   * Begins the deletion of a project, or tries a failed one again. What else is unfinished loses its job.
   * @throws AppError PROJECT_NOT_FOUND
   */
  async enqueueRelease(projectId: ProjectId): Promise<JobRecord> {
    return await this.#prisma.$transaction(async (tx) => {
      await lockProject(tx, projectId);
      const unfinished = await findUnfinished(tx, projectId);
      if (unfinished?.kind === 'release') return unfinished;
      if (unfinished) await this.#finish(tx, unfinished, 'failed', { code: 'PROJECT_DELETING', details: {} });
      await tx.project.update({ where: { id: projectId }, data: { state: 'deleting' } });
      return await createJob(tx, projectId, { kind: 'release' });
    });
  }

  /** The newest job; undefined before the first. */
  async latest(projectId: ProjectId): Promise<JobRecord | undefined> {
    const row = await this.#prisma.provisioningJob.findFirst({
      where: { projectId },
      orderBy: { jobNo: 'desc' },
      include: jobWithSteps,
    });
    return row ? jobFromRow(row) : undefined;
  }

  /** @throws AppError JOB_NOT_FOUND */
  async get(projectId: ProjectId, jobNo: number): Promise<JobRecord> {
    const row = await this.#prisma.provisioningJob.findUnique({
      where: { projectId_jobNo: { projectId, jobNo } },
      include: jobWithSteps,
    });
    if (!row) throw new AppError('JOB_NOT_FOUND');
    return jobFromRow(row);
  }

  /** Every project's unfinished jobs, for a starting worker to queue again; at most one a project. */
  async unfinished(): Promise<readonly { readonly projectId: ProjectId; readonly jobNo: number }[]> {
    const rows = await this.#prisma.provisioningJob.findMany({
      where: { state: { in: ['queued', 'running'] } },
      orderBy: [{ projectId: 'asc' }, { jobNo: 'asc' }],
      select: { projectId: true, jobNo: true },
    });
    return rows.map(({ projectId, jobNo }) => ({ projectId: parseProjectId(projectId), jobNo }));
  }

  /** Takes the job; undefined when it is finished or gone. */
  async begin(projectId: ProjectId, jobNo: number): Promise<{ hold: JobHold; job: JobRecord } | undefined> {
    const startedAt = new Date(this.#clock.nowMs());
    const [row] = await this.#prisma.provisioningJob.updateManyAndReturn({
      where: { projectId, jobNo, state: { in: ['queued', 'running'] } },
      data: { state: 'running', attempts: { increment: 1 }, ...problemColumns(undefined) },
    });
    if (!row) return undefined;
    await this.#prisma.provisioningJob.updateMany({
      where: { projectId, jobNo, startedAt: null },
      data: { startedAt },
    });
    return { hold: { projectId, jobNo, attempt: row.attempts }, job: await this.get(projectId, jobNo) };
  }

  /**
   * Begins a step; those before it count as done, also those that nobody reported.
   * @throws AppError JOB_SUPERSEDED, as every method below
   */
  async startStep(hold: JobHold, name: StepName): Promise<void> {
    const at = new Date(this.#clock.nowMs());
    await this.#holding(hold, async (tx, job) => {
      const { projectId, jobNo } = hold;
      const ordinal = job.steps.findIndex((step) => step.name === name);
      await tx.provisioningStep.updateMany({
        where: { projectId, jobNo, ordinal: { lt: ordinal }, state: { not: 'succeeded' } },
        data: { state: 'succeeded', finishedAt: at, ...problemColumns(undefined) },
      });
      await tx.provisioningStep.updateMany({
        where: { projectId, jobNo, ordinal },
        data: { state: 'running', startedAt: at, finishedAt: null, ...problemColumns(undefined) },
      });
    });
  }

  /** @param progress whole units; `estimate` is the expected total, undefined when unknown */
  async reportStep(
    hold: JobHold,
    name: StepName,
    progress: { done: number; estimate: number | undefined },
  ): Promise<void> {
    const { done, estimate } = progress;
    await this.#writeStep(hold, name, {
      done: BigInt(Math.trunc(done)),
      estimate: estimate === undefined ? null : BigInt(Math.trunc(estimate)),
    });
  }

  /** @param checks CheckResult[] of a preflight, which stay visible with the step */
  async finishStep(hold: JobHold, name: StepName, checks?: Json): Promise<void> {
    const finishedAt = new Date(this.#clock.nowMs());
    await this.#writeStep(hold, name, {
      state: 'succeeded',
      finishedAt,
      ...(checks === undefined ? {} : { checks: jsonColumn(checks) }),
      ...problemColumns(undefined),
    });
  }

  /** The step stays failed until a later attempt starts it again; the job goes on being unfinished. */
  async failStep(hold: JobHold, name: StepName, problem: CodedProblem, checks?: Json): Promise<void> {
    const finishedAt = new Date(this.#clock.nowMs());
    await this.#writeStep(hold, name, {
      state: 'failed',
      finishedAt,
      ...(checks === undefined ? {} : { checks: jsonColumn(checks) }),
      ...problemColumns(problem),
    });
  }

  /** As Sources.report, from the holder of a job: one that was taken over has nothing to say any more. */
  async reportSource(hold: JobHold, finding: SourceFinding): Promise<void> {
    const at = new Date(this.#clock.nowMs());
    await this.#holding(hold, async (tx) => await writeFinding(tx, hold.projectId, { ...finding, at }));
  }

  /**
   * Ends a job well; the rules of a deploy come into force in the same transaction.
   * @param report what an audit found
   */
  async succeed(hold: JobHold, report?: Json): Promise<void> {
    const { projectId, jobNo } = hold;
    await this.#holding(hold, async (tx, job) => {
      await this.#finish(tx, job, 'succeeded', undefined);
      if (report === undefined) return;
      const where = { projectId_jobNo: { projectId, jobNo } };
      await tx.provisioningJob.update({ where, data: { report: jsonColumn(report) } });
    });
  }

  /** Ends a job that needs a person; rules that were not in force before are marked failed. */
  async fail(hold: JobHold, problem: CodedProblem): Promise<void> {
    await this.#holding(hold, async (tx, job) => await this.#finish(tx, job, 'failed', problem));
  }

  async #finish(
    tx: Prisma.TransactionClient,
    job: JobRecord,
    state: 'succeeded' | 'failed',
    problem: CodedProblem | undefined,
  ): Promise<void> {
    const { projectId, jobNo, rulesVersion } = job;
    const finishedAt = new Date(this.#clock.nowMs());
    await tx.provisioningJob.update({
      where: { projectId_jobNo: { projectId, jobNo } },
      data: { state, finishedAt, ...problemColumns(problem) },
    });
    if (rulesVersion === undefined) return;
    if (state === 'failed') {
      const where = { projectId, version: rulesVersion, state: 'deploying' as const };
      await tx.rulesVersion.updateMany({ where, data: { state: 'failed' } });
      return;
    }
    await tx.rulesVersion.updateMany({
      where: { projectId, state: 'active', version: { not: rulesVersion } },
      data: { state: 'superseded' },
    });
    await tx.rulesVersion.update({
      where: { projectId_version: { projectId, version: rulesVersion } },
      data: { state: 'active', activatedAt: finishedAt },
    });
  }

  async #writeStep(hold: JobHold, name: StepName, data: Prisma.ProvisioningStepUpdateManyMutationInput): Promise<void> {
    const { projectId, jobNo } = hold;
    await this.#holding(hold, async (tx) => {
      await tx.provisioningStep.updateMany({ where: { projectId, jobNo, name }, data });
    });
  }

  /** Locks the job's row and runs `write` only while `hold` is the latest. */
  async #holding(hold: JobHold, write: (tx: Prisma.TransactionClient, job: JobRecord) => Promise<void>): Promise<void> {
    const { projectId, jobNo, attempt } = hold;
    await this.#prisma.$transaction(async (tx) => {
      const { count } = await tx.provisioningJob.updateMany({
        where: { projectId, jobNo, attempts: attempt, state: 'running' },
        data: { attempts: attempt },
      });
      if (count === 0) throw new AppError('JOB_SUPERSEDED');
      const row = await tx.provisioningJob.findUniqueOrThrow({
        where: { projectId_jobNo: { projectId, jobNo } },
        include: jobWithSteps,
      });
      await write(tx, jobFromRow(row));
    });
  }
}

async function findUnfinished(tx: Prisma.TransactionClient, projectId: ProjectId): Promise<JobRecord | undefined> {
  const row = await tx.provisioningJob.findFirst({
    where: { projectId, state: { in: ['queued', 'running'] } },
    include: jobWithSteps,
  });
  return row ? jobFromRow(row) : undefined;
}

/** The caller holds the project's lock, so the next number is free. */
async function createJob(
  tx: Prisma.TransactionClient,
  projectId: ProjectId,
  job: { readonly kind: JobKind; readonly rulesVersion?: number; readonly shards?: number },
): Promise<JobRecord> {
  const last = await tx.provisioningJob.findFirst({
    where: { projectId },
    orderBy: { jobNo: 'desc' },
    select: { jobNo: true },
  });
  const jobNo = (last?.jobNo ?? 0) + 1;
  await tx.provisioningJob.create({ data: { projectId, jobNo, ...job } });
  await tx.provisioningStep.createMany({
    data: STEPS_BY_KIND[job.kind].map((name, ordinal) => ({ projectId, jobNo, ordinal, name })),
  });
  const row = await tx.provisioningJob.findUniqueOrThrow({
    where: { projectId_jobNo: { projectId, jobNo } },
    include: jobWithSteps,
  });
  return jobFromRow(row);
}

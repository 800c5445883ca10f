import { type ProjectId, parseProjectId } from '@sluice/domain';
import { type CodedProblem, problemFromColumns } from '../coded-problem.ts';
import type { Prisma } from '../generated/client.ts';
import { type Json, jsonFromColumn } from '../json.ts';

export type JobKind = 'deploy' | 'release' | 'reshard' | 'audit';
export type JobState = 'queued' | 'running' | 'succeeded' | 'failed';
export type StepState = 'pending' | 'running' | 'succeeded' | 'failed';

/** The steps of each kind of job, in the order in which they run. */
export const STEPS_BY_KIND = {
  deploy: ['connect', 'preflight', 'publication', 'slot', 'snapshot', 'live'],
  release: ['release'],
  reshard: ['reshard'],
  audit: ['audit'],
} as const satisfies Record<JobKind, readonly string[]>;
export type StepName = (typeof STEPS_BY_KIND)[JobKind][number];

/** A runner's hold on a job: refused once a later attempt has begun. */
export interface JobHold {
  readonly projectId: ProjectId;
  readonly jobNo: number;
  readonly attempt: number;
}

export interface JobRecord {
  readonly projectId: ProjectId;
  readonly jobNo: number;
  readonly kind: JobKind;
  /** The edition that a deploy brings into force. */
  readonly rulesVersion: number | undefined;
  /** Among how many shards a resharding divides the rows. */
  readonly shards: number | undefined;
  /** What an audit found, once it is done. */
  readonly report: Json | undefined;
  readonly state: JobState;
  /** Runs begun, the first included. */
  readonly attempts: number;
  readonly problem: CodedProblem | undefined;
  readonly steps: readonly StepRecord[];
  readonly createdAt: Date;
  readonly startedAt: Date | undefined;
  readonly finishedAt: Date | undefined;
}

export interface StepRecord {
  readonly name: StepName;
  readonly state: StepState;
  /** Whole units done so far, rows for the snapshot; the estimate is the expected total, undefined when unknown. */
  readonly done: number;
  readonly estimate: number | undefined;
  /** CheckResult[] as JSON, with the preflight only. */
  readonly checks: Json | undefined;
  readonly problem: CodedProblem | undefined;
  readonly startedAt: Date | undefined;
  readonly finishedAt: Date | undefined;
}

export const jobWithSteps = { steps: { orderBy: { ordinal: 'asc' } } } as const satisfies Prisma.ProvisioningJobInclude;

export type JobRow = Prisma.ProvisioningJobGetPayload<{ include: typeof jobWithSteps }>;

export function jobFromRow(row: JobRow): JobRecord {
  return {
    projectId: parseProjectId(row.projectId),
    jobNo: row.jobNo,
    kind: row.kind,
    rulesVersion: row.rulesVersion ?? undefined,
    shards: row.shards ?? undefined,
    report: jsonFromColumn(row.report),
    state: row.state,
    attempts: row.attempts,
    problem: problemFromColumns(row),
    steps: row.steps.map(stepFromRow),
    createdAt: row.createdAt,
    startedAt: row.startedAt ?? undefined,
    finishedAt: row.finishedAt ?? undefined,
  };
}

function stepFromRow(row: JobRow['steps'][number]): StepRecord {
  return {
    name: row.name as StepName, // Only `createJob` inserts steps, from STEPS_BY_KIND.
    state: row.state,
    done: Number(row.done),
    estimate: row.estimate === null ? undefined : Number(row.estimate),
    checks: jsonFromColumn(row.checks),
    problem: problemFromColumns(row),
    startedAt: row.startedAt ?? undefined,
    finishedAt: row.finishedAt ?? undefined,
  };
}

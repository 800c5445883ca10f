import type { JobRecord, Json, StepRecord } from '@sluice/database';
import type { CheckResult } from '@sluice/source-steps';
import type { z } from 'zod';
import { viewOfProblem } from '../http/problem.ts';
import type { checkResultSchema, jobSchema } from './job-dto.ts';

type JobView = z.infer<typeof jobSchema>;
type CheckView = z.infer<typeof checkResultSchema>;

export function viewOfJob(job: JobRecord): JobView {
  return {
    jobNo: job.jobNo,
    kind: job.kind,
    rulesVersion: job.rulesVersion ?? null,
    shards: job.shards ?? null,
    report: job.report === undefined ? null : reportFromJson(job.report),
    state: job.state,
    attempts: job.attempts,
    problem: viewOfProblem(job.problem),
    steps: job.steps.map(viewOfStep),
    createdAt: job.createdAt.toISOString(),
    startedAt: job.startedAt?.toISOString() ?? null,
    finishedAt: job.finishedAt?.toISOString() ?? null,
  };
}

function viewOfStep(step: StepRecord): JobView['steps'][number] {
  return {
    name: step.name,
    state: step.state,
    done: step.done,
    estimate: step.estimate ?? null,
    checks: step.checks === undefined ? null : checksFromJson(step.checks).map(viewOfCheck),
    problem: viewOfProblem(step.problem),
    startedAt: step.startedAt?.toISOString() ?? null,
    finishedAt: step.finishedAt?.toISOString() ?? null,
  };
}

export function viewOfCheck({ check, ok, code, sql, message }: CheckResult): CheckView {
  return { check, ok, code: code ?? null, sql: sql ?? null, message };
}

/** The runner of jobs alone writes this column. */
function reportFromJson(report: Json): NonNullable<JobView['report']> {
  return report as unknown as NonNullable<JobView['report']>;
}

/** The runner of jobs alone writes this column. */
function checksFromJson(checks: Json): readonly CheckResult[] {
  return checks as unknown as readonly CheckResult[];
}

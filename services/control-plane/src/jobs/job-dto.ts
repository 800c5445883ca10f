import { createZodDto } from 'nestjs-zod';
import { z } from 'zod';
import { storedProblemSchema } from '../http/problem.ts';

export const checkResultSchema = z
  .strictObject({
    check: z.string().describe('Stable name of the check.'),
    ok: z.boolean(),
    code: z.string().nullable(),
    sql: z.string().nullable().describe('What to run on the source to put it right.'),
    message: z.string(),
  })
  .meta({ id: 'CheckResult' });

const stepSchema = z
  .strictObject({
    name: z.enum(['connect', 'preflight', 'publication', 'slot', 'snapshot', 'live', 'release']),
    state: z.enum(['pending', 'running', 'succeeded', 'failed']),
    done: z.int().describe('Units done, rows for the snapshot.'),
    estimate: z.int().nullable().describe('The expected total of `done`; null when unknown.'),
    checks: z.array(checkResultSchema).nullable().describe('With the preflight only.'),
    problem: storedProblemSchema.nullable(),
    startedAt: z.iso.datetime().nullable(),
    finishedAt: z.iso.datetime().nullable(),
  })
  .meta({ id: 'ProvisioningStep' });

export const jobSchema = z
  .strictObject({
    jobNo: z.int(),
    kind: z.enum(['deploy', 'release']),
    rulesVersion: z.int().nullable().describe('The edition that a deploy brings into force.'),
    state: z.enum(['queued', 'running', 'succeeded', 'failed']),
    attempts: z.int().describe('Runs begun, the first included.'),
    problem: storedProblemSchema.nullable(),
    steps: z.array(stepSchema),
    createdAt: z.iso.datetime(),
    startedAt: z.iso.datetime().nullable(),
    finishedAt: z.iso.datetime().nullable(),
  })
  .meta({
    id: 'ProvisioningJob',
    examples: [
      {
        jobNo: 1,
        kind: 'deploy',
        rulesVersion: 1,
        state: 'running',
        attempts: 1,
        problem: null,
        steps: [
          {
            name: 'snapshot',
            state: 'running',
            done: 12000,
            estimate: 20000,
            checks: null,
            problem: null,
            startedAt: '2030-01-01T00:00:02.000Z',
            finishedAt: null,
          },
        ],
        createdAt: '2030-01-01T00:00:00.000Z',
        startedAt: '2030-01-01T00:00:01.000Z',
        finishedAt: null,
      },
    ],
  });

export class JobDto extends createZodDto(jobSchema) {}

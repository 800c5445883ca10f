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
    name: z.enum(['connect', 'preflight', 'publication', 'slot', 'snapshot', 'live', 'release', 'reshard', 'audit']),
    state: z.enum(['pending', 'running', 'succeeded', 'failed']),
    done: z.int().describe('Units done, rows for the snapshot.'),
    estimate: z.int().nullable().describe('The expected total of `done`; null when unknown.'),
    checks: z.array(checkResultSchema).nullable().describe('With the preflight only.'),
    problem: storedProblemSchema.nullable(),
    startedAt: z.iso.datetime().nullable(),
    finishedAt: z.iso.datetime().nullable(),
  })
  .meta({ id: 'ProvisioningStep' });

const contentSizeSchema = z.strictObject({ buckets: z.int(), rows: z.int() }).meta({ id: 'ContentSize' });

const auditReportSchema = z
  .strictObject({
    lsn: z.string().describe('The checkpoint at which both were looked at.'),
    streams: z.array(
      z.strictObject({
        name: z.string(),
        isEqual: z
          .boolean()
          .describe('False: clients were served something else, and are now served what the source has.'),
        served: contentSizeSchema.describe('As clients were served.'),
        source: contentSizeSchema.describe("As the source's rows give them."),
      }),
    ),
  })
  .meta({
    id: 'AuditReport',
    examples: [
      {
        lsn: '0/1A2B3C4',
        streams: [
          {
            name: 'my_tasks',
            isEqual: true,
            served: { buckets: 10, rows: 1200 },
            source: { buckets: 10, rows: 1200 },
          },
        ],
      },
    ],
  });

export const jobSchema = z
  .strictObject({
    jobNo: z.int(),
    kind: z.enum(['deploy', 'release', 'reshard', 'audit']),
    rulesVersion: z.int().nullable().describe('The edition that a deploy brings into force.'),
    shards: z.int().nullable().describe('Among how many shards a resharding divides the rows.'),
    report: auditReportSchema.nullable().describe('What an audit found, once it is done.'),
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
        shards: null,
        report: null,
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

import { createZodDto } from 'nestjs-zod';
import { z } from 'zod';
import { storedProblemSchema } from '../http/problem.ts';
import { jobSchema } from '../jobs/job-dto.ts';
import { sourceStateSchema } from '../sources/source-dto.ts';
import { projectStatusSchema } from './project-status.ts';

const EXAMPLE_REF = 'p7k2m9x4qd0v8thn3wzc';

/** Names are shown to people: no control characters, no direction overrides, no lone surrogates. */
const nameSchema = z
  .string()
  .trim()
  .min(1)
  .max(100)
  .refine((name) => !/[\p{Cc}\p{Cs}\u202a-\u202e\u2066-\u2069]/u.test(name), {
    message: 'control characters are not allowed',
  });

export class CreateProjectDto extends createZodDto(
  z
    .strictObject({ name: nameSchema.describe('For people; need not be unique.') })
    .meta({ id: 'CreateProject', examples: [{ name: 'Departures' }] }),
) {}

export const projectSchema = z
  .strictObject({
    ref: z.string().describe('The public handle: stands in URLs, in tokens and in the client.'),
    name: z.string(),
    status: projectStatusSchema,
    createdAt: z.iso.datetime(),
    source: z
      .strictObject({ state: sourceStateSchema, problem: storedProblemSchema.nullable() })
      .nullable()
      .describe('Null until a source is set.'),
    activeRulesVersion: z.int().nullable().describe('The edition of the rules in force.'),
    latestJob: jobSchema.nullable().describe('The newest deploy or release.'),
  })
  .meta({
    id: 'Project',
    examples: [
      {
        ref: EXAMPLE_REF,
        name: 'Departures',
        status: 'live',
        createdAt: '2030-01-01T00:00:00.000Z',
        source: { state: 'live', problem: null },
        activeRulesVersion: 3,
        latestJob: null,
      },
    ],
  });
export class ProjectDto extends createZodDto(projectSchema) {}

export class ProjectListDto extends createZodDto(
  z
    .strictObject({
      projects: z.array(projectSchema),
      next: z.string().nullable().describe('Pass it as `after` for the next page; null on the last.'),
    })
    .meta({ id: 'ProjectList' }),
) {}

export class ListProjectsQueryDto extends createZodDto(
  z.strictObject({
    after: z.string().max(40).optional().describe('A project ref; the page begins after it.'),
    limit: z.coerce.number().int().min(1).max(200).default(50),
  }),
) {}

export class DeleteProjectQueryDto extends createZodDto(
  z.strictObject({
    abandon: z
      .enum(['true', 'false'])
      .default('false')
      .describe('Delete at once and leave slot and publication on the source, for one that is out of reach for good.'),
  }),
) {}

export class DeletedProjectDto extends createZodDto(
  z
    .strictObject({
      state: z.enum(['deleting', 'deleted']),
      warning: storedProblemSchema.nullable().describe('What is left to do by hand.'),
    })
    .meta({ id: 'DeletedProject', examples: [{ state: 'deleting', warning: null }] }),
) {}

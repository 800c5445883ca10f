import { createZodDto } from 'nestjs-zod';
import { z } from 'zod';
import { diagnosticSchema } from './rules-dto.ts';

const ROWS_MAX = 100;
const ROWS_DEFAULT = 20;
const KEY_PARTS_MAX = 32;
const KEY_CHARS_MAX = 8_192;
const CLAIMS_BYTES_MAX = 8_192;

const streamChange = {
  stream: z.string(),
  table: z.string().describe("The client's table."),
  source: z.string().describe('The table of the source, as `schema.table`.'),
};
const changesSchema = z
  .strictObject({
    against: z.int().nullable().describe('The version that was compared with; null when none is in force.'),
    added: z
      .array(
        z.strictObject({
          ...streamChange,
          replaces: z
            .boolean()
            .describe(
              'A stream of this name is in force with other content; clients keep it until this one is complete.',
            ),
          rowsEstimate: z
            .int()
            .describe("Rows of the source's table by its statistics: what is read to fill the stream."),
        }),
      )
      .describe('Streams that are copied from the source.'),
    kept: z.array(z.strictObject(streamChange)).describe('Streams of equal content: what clients hold stays.'),
    dropped: z.array(z.strictObject(streamChange)).describe('Streams whose rows leave clients, or are replaced.'),
  })
  .meta({
    id: 'RulesChanges',
    examples: [
      {
        against: 2,
        added: [{ stream: 'my_tasks', table: 'tasks', source: 'public.tasks', replaces: true, rowsEstimate: 12_000 }],
        kept: [{ stream: 'teams', table: 'teams', source: 'public.teams' }],
        dropped: [{ stream: 'my_tasks', table: 'tasks', source: 'public.tasks' }],
      },
    ],
  });
export class RulesChangesDto extends createZodDto(changesSchema) {}
export type RulesChangesView = z.infer<typeof changesSchema>;

export class RulesCheckDto extends createZodDto(
  z
    .strictObject({
      isDeployable: z.boolean(),
      diagnostics: z.array(diagnosticSchema).describe('Problems, or warnings where it can be deployed.'),
      changes: changesSchema.nullable().describe('What deploying it would do; null when it cannot be deployed.'),
    })
    .meta({ id: 'RulesCheck', examples: [{ isDeployable: true, diagnostics: [], changes: null }] }),
) {}

const claimsSchema = z
  .record(z.string(), z.unknown())
  .refine(
    (claims) => JSON.stringify(claims).length <= CLAIMS_BYTES_MAX,
    `at most ${CLAIMS_BYTES_MAX} characters of JSON`,
  )
  .describe("What the user's token says, `sub` among it.");

export class PostPreviewDto extends createZodDto(
  z
    .strictObject({
      claims: claimsSchema,
      rowsMax: z.int().min(1).max(ROWS_MAX).default(ROWS_DEFAULT).describe('Rows shown of each stream.'),
    })
    .meta({ id: 'PostPreview', examples: [{ claims: { sub: 'ann' }, rowsMax: ROWS_DEFAULT }] }),
) {}

const membershipSchema = z
  .strictObject({
    table: z.string().describe('As `schema.table`.'),
    column: z.string(),
    values: z.array(z.string()).describe('The values that the token reaches, as Postgres prints them.'),
    isComplete: z.boolean(),
  })
  .meta({ id: 'MembershipPreview' });

const exampleMembership = { table: 'public.members', column: 'team', values: ['7'], isComplete: true };

export class PreviewDto extends createZodDto(
  z
    .strictObject({
      streams: z.array(
        z.strictObject({
          name: z.string(),
          table: z.string().describe("The client's table."),
          columns: z
            .array(z.strictObject({ name: z.string(), pgType: z.string() }))
            .describe('Those of the key come first.'),
          keyColumns: z.int(),
          rows: z
            .array(z.array(z.string().nullable()))
            .describe('Values as Postgres prints them, cut at 1,000 characters.'),
          count: z.int().describe('Of all rows, counted up to 100,000.'),
          isCountExact: z.boolean(),
          memberships: z.array(membershipSchema),
          code: z
            .string()
            .nullable()
            .describe('RULES_PREVIEW_SLOW when the source did not find the rows in time; then none are shown.'),
        }),
      ),
    })
    .meta({
      id: 'Preview',
      examples: [
        {
          streams: [
            {
              name: 'team_tasks',
              table: 'tasks',
              columns: [{ name: 'id', pgType: 'bigint' }],
              keyColumns: 1,
              rows: [['42']],
              count: 1,
              isCountExact: true,
              memberships: [exampleMembership],
              code: null,
            },
          ],
        },
      ],
    }),
) {}

export class PostExplanationDto extends createZodDto(
  z
    .strictObject({
      claims: claimsSchema,
      table: z.string().min(1).max(255).describe("The client's table."),
      key: z
        .array(z.string().max(KEY_CHARS_MAX))
        .min(1)
        .max(KEY_PARTS_MAX)
        .describe('The text of each column of the row key, in order.'),
    })
    .meta({ id: 'PostExplanation', examples: [{ claims: { sub: 'ann' }, table: 'tasks', key: ['42'] }] }),
) {}

const exampleCondition = {
  kind: 'membership',
  text: 'team IN (SELECT team FROM members WHERE who = auth.user_id())',
  holds: false,
  column: 'team',
  value: '8',
  claim: '"ann"',
  membership: exampleMembership,
} as const;

export class ExplanationDto extends createZodDto(
  z
    .strictObject({
      isThere: z.boolean().describe('Whether the source has a row with this key.'),
      row: z.record(z.string(), z.string().nullable()).describe('Its values, as far as streams select them.'),
      streams: z.array(
        z.strictObject({
          name: z.string(),
          sees: z.boolean(),
          alternatives: z
            .array(
              z.array(
                z.strictObject({
                  kind: z.enum(['row', 'token', 'claim', 'membership']),
                  text: z.string().describe('The condition as rules have it.'),
                  holds: z.boolean().nullable().describe('Null when there is no row to judge.'),
                  column: z.string().nullable(),
                  value: z.string().nullable().describe('What the row has there.'),
                  claim: z
                    .string()
                    .nullable()
                    .describe('What the token says there, as JSON; null when it says nothing.'),
                  membership: membershipSchema.nullable(),
                }),
              ),
            )
            .describe('The row is seen when all conditions of one alternative hold.'),
        }),
      ),
    })
    .meta({
      id: 'Explanation',
      examples: [
        {
          isThere: true,
          row: { id: '42', team: '8' },
          streams: [{ name: 'team_tasks', sees: false, alternatives: [[exampleCondition]] }],
        },
      ],
    }),
) {}

import { createZodDto } from 'nestjs-zod';
import { z } from 'zod';

const YAML_CHARS_MAX = 256 * 1024;
const EXAMPLE_YAML =
  'version: 1\nstreams:\n  my_tasks:\n    query: SELECT * FROM tasks WHERE owner_id = auth.user_id()\n';

export class PostRulesDto extends createZodDto(
  z
    .strictObject({
      yaml: z.string().max(YAML_CHARS_MAX).describe('The rules file; docs/sync-rules.md is its reference.'),
    })
    .meta({ id: 'PostRules', examples: [{ yaml: EXAMPLE_YAML }] }),
) {}

export const diagnosticSchema = z
  .strictObject({
    code: z.string(),
    message: z.string(),
    hint: z.string(),
    line: z.int().describe('From 1.'),
    column: z.int().describe('From 1, in UTF-16 code units.'),
    endLine: z.int(),
    endColumn: z.int(),
  })
  .meta({ id: 'Diagnostic' });

const summaryShape = {
  version: z.int(),
  state: z
    .enum(['draft', 'validated', 'deploying', 'active', 'superseded', 'failed'])
    .describe('A draft has problems and cannot be deployed.'),
  diagnostics: z.array(diagnosticSchema).describe('Problems of a draft, warnings of the others.'),
  createdAt: z.iso.datetime(),
  activatedAt: z.iso.datetime().nullable(),
};
const exampleSummary = {
  version: 3,
  state: 'validated',
  diagnostics: [],
  createdAt: '2030-01-01T00:00:00.000Z',
  activatedAt: null,
} as const;

const rulesSummarySchema = z.strictObject(summaryShape).meta({ id: 'RulesSummary', examples: [exampleSummary] });
export const rulesSchema = z
  .strictObject({
    ...summaryShape,
    yaml: z.string(),
    streams: z.array(z.string()).describe('Names of the streams that the rules define; empty for a draft.'),
  })
  .meta({ id: 'Rules', examples: [{ ...exampleSummary, yaml: EXAMPLE_YAML, streams: ['my_tasks'] }] });

export class RulesDto extends createZodDto(rulesSchema) {}
export class RulesListDto extends createZodDto(
  z.strictObject({ versions: z.array(rulesSummarySchema).describe('Newest first.') }).meta({ id: 'RulesList' }),
) {}

import { Body, Controller, Get, Inject, Param, Post } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import type { Database, Json, RulesRecord, RulesSummary } from '@sluice/database';
import { AppError } from '@sluice/errors';
import { jsonFromPlan, planOf } from '@sluice/project-directory';
import type { SourceProvisioner } from '@sluice/source-steps';
import type { Diagnostic } from '@sluice/sync-rules';
import type { z } from 'zod';
import { ApiAnswers, ApiTakes } from '../http/api-doc.ts';
import { parseWith } from '../http/parse-with.ts';
import { ApiProblems } from '../http/problem.ts';
import { projectOfRequest } from '../http/project-of-request.ts';
import { DATABASE, PROVISIONER, RULES_CHECKER } from '../http/tokens.ts';
import { JobDto } from '../jobs/job-dto.ts';
import { viewOfJob } from '../jobs/job-view.ts';
import { Provisioning } from '../jobs/provisioning.ts';
import type { RulesChecker } from './check-rules.ts';
import { parseVersion } from './parse-version.ts';
import { PostRulesDto, RulesDto, RulesListDto, type rulesSchema } from './rules-dto.ts';

const LISTED_VERSIONS_MAX = 100;

@Controller('v1/projects/:ref/rules')
@ApiTags('sync rules')
@ApiBearerAuth()
@ApiParam({ name: 'ref', type: String })
export class RulesController {
  constructor(
    @Inject(DATABASE) private readonly database: Database,
    @Inject(PROVISIONER) private readonly provisioner: SourceProvisioner | undefined,
    @Inject(RULES_CHECKER) private readonly checkRules: RulesChecker,
    @Inject(Provisioning) private readonly provisioning: Provisioning,
  ) {}

  @Post()
  @ApiOperation({
    operationId: 'postRules',
    summary: 'Add a version of the rules, checked against the tables of the source as they are now',
    description: 'Rules with problems are kept as a draft, with a diagnostic for each problem; nothing is deployed.',
  })
  @ApiTakes(PostRulesDto)
  @ApiAnswers(RulesDto, 201)
  @ApiProblems(
    'PROJECT_NOT_FOUND',
    'PROJECT_DELETING',
    'SOURCE_NOT_SET',
    'SOURCE_WORKER_MISSING',
    'SOURCE_UNREACHABLE',
    'SOURCE_PASSWORD',
    'SOURCE_DATABASE_MISSING',
    'SOURCE_TLS',
    'API_REQUEST_INVALID',
    'API_REQUEST_TOO_LARGE',
    'API_MEDIA_TYPE_UNSUPPORTED',
  )
  async post(@Param('ref') ref: string, @Body(parseWith(PostRulesDto)) body: PostRulesDto) {
    const { id } = await projectOfRequest(this.database, ref);
    await this.database.sources.get(id);
    if (!this.provisioner) throw new AppError('SOURCE_WORKER_MISSING');
    const catalog = await this.provisioner.catalog({ projectId: id, ref });
    const checked = await this.checkRules(body.yaml, catalog);
    const isValid = checked.kind === 'ok';
    const rules = await this.database.rules.create(id, {
      yaml: body.yaml,
      plan: isValid ? jsonFromPlan(checked.rules) : undefined,
      diagnostics: jsonFromDiagnostics(isValid ? checked.warnings : checked.diagnostics),
    });
    return viewOfRules(rules);
  }

  @Get()
  @ApiOperation({ operationId: 'listRules', summary: `List the newest ${LISTED_VERSIONS_MAX} versions of the rules` })
  @ApiAnswers(RulesListDto, 200)
  @ApiProblems('PROJECT_NOT_FOUND')
  async list(@Param('ref') ref: string) {
    const { id } = await projectOfRequest(this.database, ref);
    return { versions: (await this.database.rules.list(id, LISTED_VERSIONS_MAX)).map(viewOfSummary) };
  }

  @Get(':version')
  @ApiOperation({ operationId: 'getRules', summary: 'Get a version of the rules' })
  @ApiParam({ name: 'version', schema: { type: 'integer', minimum: 1 } })
  @ApiAnswers(RulesDto, 200)
  @ApiProblems('PROJECT_NOT_FOUND', 'RULES_VERSION_NOT_FOUND')
  async get(@Param('ref') ref: string, @Param('version') version: string) {
    const { id } = await projectOfRequest(this.database, ref);
    return viewOfRules(await this.database.rules.get(id, parseVersion(version)));
  }

  @Post(':version/deploy')
  @ApiOperation({
    operationId: 'deployRules',
    summary: 'Bring a version of the rules into force',
    description:
      'Answers with the job; GET .../provisioning shows its steps. The rules in force stay so until it is done.',
  })
  @ApiParam({ name: 'version', schema: { type: 'integer', minimum: 1 } })
  @ApiAnswers(JobDto, 202)
  @ApiProblems(
    'PROJECT_NOT_FOUND',
    'PROJECT_DELETING',
    'PROJECT_BUSY',
    'SOURCE_NOT_SET',
    'RULES_VERSION_NOT_FOUND',
    'RULES_VERSION_NOT_DEPLOYABLE',
  )
  async deploy(@Param('ref') ref: string, @Param('version') version: string) {
    const { id } = await projectOfRequest(this.database, ref);
    return viewOfJob(await this.provisioning.deploy(id, parseVersion(version)));
  }
}

type RulesView = z.infer<typeof rulesSchema>;

function viewOfRules(rules: RulesRecord): RulesView {
  const streams = rules.plan === undefined ? [] : planOf(rules).streams.map((stream) => stream.name);
  return { ...viewOfSummary(rules), yaml: rules.yaml, streams };
}

function viewOfSummary(rules: RulesSummary): Omit<RulesView, 'yaml' | 'streams'> {
  return {
    version: rules.version,
    state: rules.state,
    diagnostics: [...diagnosticsFromJson(rules.diagnostics)],
    createdAt: rules.createdAt.toISOString(),
    activatedAt: rules.activatedAt?.toISOString() ?? null,
  };
}

/** Diagnostics are plain data, and this file alone writes their column. */
function jsonFromDiagnostics(diagnostics: readonly Diagnostic[]): Json {
  return diagnostics.map((diagnostic) => ({ ...diagnostic }));
}
function diagnosticsFromJson(json: Json): readonly Diagnostic[] {
  return json as unknown as readonly Diagnostic[];
}

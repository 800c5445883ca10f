import { Body, Controller, Get, Inject, Param, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiParam, ApiQuery, ApiTags } from '@nestjs/swagger';
import type { Database, RulesRecord } from '@sluice/database';
import { AppError } from '@sluice/errors';
import { planOf } from '@sluice/project-directory';
import type { ProvisioningProject, RulesToApply, SourceProvisioner } from '@sluice/source-steps';
import { ApiAnswers, ApiTakes } from '../http/api-doc.ts';
import { parseWith } from '../http/parse-with.ts';
import { ApiProblems } from '../http/problem.ts';
import { projectOfRequest } from '../http/project-of-request.ts';
import { DATABASE, PROVISIONER, RULES_CHECKER } from '../http/tokens.ts';
import type { RulesChecker } from './check-rules.ts';
import { parseVersion } from './parse-version.ts';
import { changesBetween, versionToCompare } from './rules-changes.ts';
import { PostRulesDto } from './rules-dto.ts';
import {
  ExplanationDto,
  PostExplanationDto,
  PostPreviewDto,
  PreviewDto,
  RulesChangesDto,
  RulesCheckDto,
} from './rules-tools-dto.ts';
import { viewOfExplanation, viewOfPreview } from './rules-tools-view.ts';

const SOURCE_PROBLEMS = [
  'PROJECT_NOT_FOUND',
  'SOURCE_NOT_SET',
  'SOURCE_WORKER_MISSING',
  'SOURCE_UNREACHABLE',
  'SOURCE_PASSWORD',
  'SOURCE_DATABASE_MISSING',
  'SOURCE_TLS',
] as const;
const VERSION_PROBLEMS = [...SOURCE_PROBLEMS, 'RULES_VERSION_NOT_FOUND', 'RULES_VERSION_NOT_DEPLOYABLE'] as const;
const BODY_PROBLEMS = ['API_REQUEST_INVALID', 'API_REQUEST_TOO_LARGE', 'API_MEDIA_TYPE_UNSUPPORTED'] as const;

/** Answers about rules before they are in force. Nothing here changes anything. */
@Controller('v1/projects/:ref/rules')
@ApiTags('sync rules')
@ApiBearerAuth()
@ApiParam({ name: 'ref', type: String })
export class RulesToolsController {
  constructor(
    @Inject(DATABASE) private readonly database: Database,
    @Inject(PROVISIONER) private readonly provisioner: SourceProvisioner | undefined,
    @Inject(RULES_CHECKER) private readonly checkRules: RulesChecker,
  ) {}

  @Post('check')
  @ApiOperation({
    operationId: 'checkRules',
    summary: 'Check rules against the tables of the source as they are now, without keeping them',
    description: 'For editors: the diagnostics of every problem, and what deploying the rules would do.',
  })
  @ApiTakes(PostRulesDto)
  @ApiAnswers(RulesCheckDto, 200)
  @ApiProblems(...SOURCE_PROBLEMS, ...BODY_PROBLEMS)
  async check(@Param('ref') ref: string, @Body(parseWith(PostRulesDto)) body: PostRulesDto) {
    const source = await this.sourceOf(ref);
    const checked = await this.checkRules(body.yaml, await source.provisioner.catalog(source.project));
    if (checked.kind !== 'ok') return { isDeployable: false, diagnostics: [...checked.diagnostics], changes: null };
    const active = await this.database.rules.active(source.project.projectId);
    const changes = await changesBetween(active, checked.rules, source);
    return { isDeployable: true, diagnostics: [...checked.warnings], changes };
  }

  @Get(':version/changes')
  @ApiOperation({
    operationId: 'getRulesChanges',
    summary: 'Get what deploying a version would do, stream by stream',
    description: 'Compared with the version in force, or with the one that `against` names.',
  })
  @ApiParam({ name: 'version', schema: { type: 'integer', minimum: 1 } })
  @ApiQuery({ name: 'against', required: false, schema: { type: 'integer', minimum: 1 } })
  @ApiAnswers(RulesChangesDto, 200)
  @ApiProblems(...VERSION_PROBLEMS)
  async changes(@Param('ref') ref: string, @Param('version') version: string, @Query('against') against?: string) {
    const source = await this.sourceOf(ref);
    const { projectId } = source.project;
    const next = await this.deployable(projectId, version);
    const old = await versionToCompare(
      this.database,
      projectId,
      against === undefined ? undefined : parseVersion(against),
    );
    return await changesBetween(old, planOf(next), source);
  }

  @Post(':version/preview')
  @ApiOperation({
    operationId: 'previewRules',
    summary: 'Show what a user would get by a version of the rules',
    description: 'Reads the source as it is now, under the claims given; the version need not be in force.',
  })
  @ApiParam({ name: 'version', schema: { type: 'integer', minimum: 1 } })
  @ApiTakes(PostPreviewDto)
  @ApiAnswers(PreviewDto, 200)
  @ApiProblems(...VERSION_PROBLEMS, ...BODY_PROBLEMS)
  async preview(
    @Param('ref') ref: string,
    @Param('version') version: string,
    @Body(parseWith(PostPreviewDto)) { claims, rowsMax }: PostPreviewDto,
  ) {
    const { provisioner, project } = await this.sourceOf(ref);
    const rules = rulesToApply(await this.deployable(project.projectId, version));
    return viewOfPreview(await provisioner.preview(project, rules, { claims, rowsMax }));
  }

  @Post(':version/explain')
  @ApiOperation({
    operationId: 'explainRow',
    summary: 'Say why a user would see a row, or would not',
    description:
      'Names each stream of the table, each condition with the values that were compared, and the memberships.',
  })
  @ApiParam({ name: 'version', schema: { type: 'integer', minimum: 1 } })
  @ApiTakes(PostExplanationDto)
  @ApiAnswers(ExplanationDto, 200)
  @ApiProblems(
    ...VERSION_PROBLEMS,
    'RULES_PREVIEW_SLOW',
    'RULES_TABLE_NOT_SYNCED',
    'RULES_ROW_KEY_INVALID',
    ...BODY_PROBLEMS,
  )
  async explain(
    @Param('ref') ref: string,
    @Param('version') version: string,
    @Body(parseWith(PostExplanationDto)) { claims, table, key }: PostExplanationDto,
  ) {
    const { provisioner, project } = await this.sourceOf(ref);
    const rules = rulesToApply(await this.deployable(project.projectId, version));
    return viewOfExplanation(await provisioner.explain(project, rules, { claims, table, key }));
  }

  /** @throws AppError PROJECT_NOT_FOUND, SOURCE_NOT_SET, SOURCE_WORKER_MISSING */
  private async sourceOf(
    ref: string,
  ): Promise<{ readonly provisioner: SourceProvisioner; readonly project: ProvisioningProject }> {
    const { id } = await projectOfRequest(this.database, ref);
    await this.database.sources.get(id);
    if (!this.provisioner) throw new AppError('SOURCE_WORKER_MISSING');
    return { provisioner: this.provisioner, project: { projectId: id, ref } };
  }
  /** @throws AppError RULES_VERSION_NOT_FOUND, RULES_VERSION_NOT_DEPLOYABLE */
  private async deployable(projectId: RulesRecord['projectId'], version: string): Promise<RulesRecord> {
    const rules = await this.database.rules.get(projectId, parseVersion(version));
    if (rules.plan === undefined) throw new AppError('RULES_VERSION_NOT_DEPLOYABLE');
    return rules;
  }
}

function rulesToApply(rules: RulesRecord): RulesToApply {
  return { version: rules.version, yaml: rules.yaml, compiled: planOf(rules) };
}

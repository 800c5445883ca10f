import { Body, Controller, Delete, Get, Inject, Param, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiParam, ApiQuery, ApiTags } from '@nestjs/swagger';
import type { Database } from '@sluice/database';
import { AppError } from '@sluice/errors';
import type { ControlPlaneEvents } from '../events.ts';
import { ApiAnswers, ApiTakes } from '../http/api-doc.ts';
import { parseWith } from '../http/parse-with.ts';
import { ApiProblems, problemFromError } from '../http/problem.ts';
import { projectOfRequest } from '../http/project-of-request.ts';
import { DATABASE, EVENTS } from '../http/tokens.ts';
import { Provisioning } from '../jobs/provisioning.ts';
import {
  CreateProjectDto,
  DeletedProjectDto,
  DeleteProjectQueryDto,
  ListProjectsQueryDto,
  ProjectDto,
  ProjectListDto,
} from './project-dto.ts';
import { viewOfProject } from './project-view.ts';

@Controller('v1/projects')
@ApiTags('projects')
@ApiBearerAuth()
export class ProjectsController {
  constructor(
    @Inject(DATABASE) private readonly database: Database,
    @Inject(Provisioning) private readonly provisioning: Provisioning,
    @Inject(EVENTS) private readonly events: ControlPlaneEvents,
  ) {}

  @Post()
  @ApiOperation({ operationId: 'createProject', summary: 'Create a project' })
  @ApiTakes(CreateProjectDto)
  @ApiAnswers(ProjectDto, 201)
  @ApiProblems('API_REQUEST_INVALID', 'API_REQUEST_TOO_LARGE', 'API_MEDIA_TYPE_UNSUPPORTED')
  async create(@Body(parseWith(CreateProjectDto)) body: CreateProjectDto) {
    const { id } = await this.database.projects.create(body.name);
    return viewOfProject(await this.database.projects.overview(id));
  }

  @Get()
  @ApiOperation({ operationId: 'listProjects', summary: 'List projects in the order of their creation' })
  @ApiQuery({ name: 'after', required: false, type: String, description: 'A project ref; the page begins after it.' })
  @ApiQuery({ name: 'limit', required: false, schema: { type: 'integer', minimum: 1, maximum: 200, default: 50 } })
  @ApiAnswers(ProjectListDto, 200)
  @ApiProblems('API_REQUEST_INVALID', 'PROJECT_NOT_FOUND')
  async list(@Query(parseWith(ListProjectsQueryDto)) query: ListProjectsQueryDto) {
    const projects = await this.database.projects.list({ afterRef: query.after, limit: query.limit });
    const next = projects.length === query.limit ? (projects.at(-1)?.ref ?? null) : null;
    return { projects: projects.map(viewOfProject), next };
  }

  @Get(':ref')
  @ApiOperation({ operationId: 'getProject', summary: 'Get a project' })
  @ApiParam({ name: 'ref', type: String })
  @ApiAnswers(ProjectDto, 200)
  @ApiProblems('PROJECT_NOT_FOUND')
  async get(@Param('ref') ref: string) {
    const { id } = await projectOfRequest(this.database, ref);
    return viewOfProject(await this.database.projects.overview(id));
  }

  @Delete(':ref')
  @ApiOperation({
    operationId: 'deleteProject',
    summary: 'Delete a project for good',
    description: 'Drops slot and publication on the source first, as a job of kind `release`. May be repeated.',
  })
  @ApiParam({ name: 'ref', type: String })
  @ApiQuery({ name: 'abandon', required: false, enum: ['true', 'false'] })
  @ApiAnswers(DeletedProjectDto, 202)
  @ApiProblems('PROJECT_NOT_FOUND', 'API_REQUEST_INVALID')
  async delete(@Param('ref') ref: string, @Query(parseWith(DeleteProjectQueryDto)) query: DeleteProjectQueryDto) {
    const { id } = await projectOfRequest(this.database, ref);
    const source = await this.database.sources.find(id);
    if (source && query.abandon === 'false') {
      await this.provisioning.release(id);
      return { state: 'deleting' as const, warning: null };
    }
    await this.database.projects.erase(id);
    this.events.projectDeleted(id, source === undefined);
    if (!source) return { state: 'deleted' as const, warning: null };
    const details = { prefix: `sluice_${id}_` };
    return {
      state: 'deleted' as const,
      warning: problemFromError(new AppError('SOURCE_RELEASE_INCOMPLETE', { details })),
    };
  }
}

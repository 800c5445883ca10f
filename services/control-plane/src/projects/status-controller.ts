import { Controller, Get, Inject, Param } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import type { Database, ProjectOverview } from '@sluice/database';
import { ApiAnswers } from '../http/api-doc.ts';
import { ApiProblems, type StoredProblem, viewOfProblem } from '../http/problem.ts';
import { projectOfRequest } from '../http/project-of-request.ts';
import { DATABASE } from '../http/tokens.ts';
import { StatusDto } from './status-dto.ts';

type Status = 'setting-up' | 'provisioning' | 'live' | 'failing' | 'deleting';
type Missing = 'source' | 'client-auth' | 'rules';

@Controller('v1/projects/:ref/status')
@ApiTags('projects')
@ApiBearerAuth()
@ApiParam({ name: 'ref', type: String })
export class StatusController {
  constructor(@Inject(DATABASE) private readonly database: Database) {}

  @Get()
  @ApiOperation({ operationId: 'getStatus', summary: 'Get how a project is doing, and why' })
  @ApiAnswers(StatusDto, 200)
  @ApiProblems('PROJECT_NOT_FOUND')
  async get(@Param('ref') ref: string) {
    const { id } = await projectOfRequest(this.database, ref);
    const [project, clientAuth] = await Promise.all([
      this.database.projects.overview(id),
      this.database.clientAuths.find(id),
    ]);
    const missing = missingOf(project, clientAuth !== undefined);
    const problems = problemsOf(project);
    return { status: statusOf(project, { missing, problems }), missing, problems };
  }
}

function statusOf(project: ProjectOverview, found: { missing: Missing[]; problems: StoredProblem[] }): Status {
  const jobState = project.latestJob?.state;
  if (project.state === 'deleting') return 'deleting';
  if (jobState === 'queued' || jobState === 'running') return 'provisioning';
  if (found.problems.length > 0) return 'failing';
  return found.missing.length > 0 ? 'setting-up' : 'live';
}

function missingOf(project: ProjectOverview, hasClientAuth: boolean): Missing[] {
  return [
    ...(project.source ? [] : (['source'] as const)),
    ...(hasClientAuth ? [] : (['client-auth'] as const)),
    ...(project.activeRulesVersion === undefined ? (['rules'] as const) : []),
  ];
}

/** The job's and the source's, once when both say the same. */
function problemsOf({ latestJob, source }: ProjectOverview): StoredProblem[] {
  const step = latestJob?.steps.find((candidate) => candidate.problem)?.problem;
  const problems = [source?.problem, latestJob?.problem ?? step].flatMap((problem) => viewOfProblem(problem) ?? []);
  return problems.filter((problem, at) => problems.findIndex(({ code }) => code === problem.code) === at);
}

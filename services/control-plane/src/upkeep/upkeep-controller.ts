import { Body, Controller, Inject, Param, Post } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import type { Database } from '@sluice/database';
import { ApiAnswers, ApiTakes } from '../http/api-doc.ts';
import { parseWith } from '../http/parse-with.ts';
import { ApiProblems } from '../http/problem.ts';
import { projectOfRequest } from '../http/project-of-request.ts';
import { DATABASE } from '../http/tokens.ts';
import { JobDto } from '../jobs/job-dto.ts';
import { viewOfJob } from '../jobs/job-view.ts';
import { Provisioning } from '../jobs/provisioning.ts';
import { PostShardsDto } from './upkeep-dto.ts';

/** Work on a project that is served, and goes on being served meanwhile. */
@Controller('v1/projects/:ref')
@ApiTags('upkeep')
@ApiBearerAuth()
@ApiParam({ name: 'ref', type: String })
export class UpkeepController {
  constructor(
    @Inject(DATABASE) private readonly database: Database,
    @Inject(Provisioning) private readonly provisioning: Provisioning,
  ) {}

  @Post('shards')
  @ApiOperation({
    operationId: 'postShards',
    summary: 'Divide the rows of the project among another number of shards',
    description:
      'A job of kind `reshard`; GET .../provisioning shows it. The stream goes on, clients notice nothing and nothing is copied.',
  })
  @ApiTakes(PostShardsDto)
  @ApiAnswers(JobDto, 202)
  @ApiProblems(
    'PROJECT_NOT_FOUND',
    'PROJECT_DELETING',
    'PROJECT_NOT_SERVED',
    'PROJECT_BUSY',
    'API_REQUEST_INVALID',
    'API_REQUEST_TOO_LARGE',
    'API_MEDIA_TYPE_UNSUPPORTED',
  )
  async reshard(@Param('ref') ref: string, @Body(parseWith(PostShardsDto)) body: PostShardsDto) {
    const { id } = await projectOfRequest(this.database, ref);
    return viewOfJob(await this.provisioning.reshard(id, body.shards));
  }

  @Post('audits')
  @ApiOperation({
    operationId: 'postAudit',
    summary: 'Compare what clients of the project are served with its source',
    description:
      'A job of kind `audit`; its `report` says what was found. What differs is replaced. Costs the source and the store a copy of every synced table.',
  })
  @ApiAnswers(JobDto, 202)
  @ApiProblems('PROJECT_NOT_FOUND', 'PROJECT_DELETING', 'PROJECT_NOT_SERVED', 'PROJECT_BUSY')
  async audit(@Param('ref') ref: string) {
    const { id } = await projectOfRequest(this.database, ref);
    return viewOfJob(await this.provisioning.audit(id));
  }
}

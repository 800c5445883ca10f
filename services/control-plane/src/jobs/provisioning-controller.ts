import { Controller, Get, Inject, Param } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import type { Database } from '@sluice/database';
import { AppError } from '@sluice/errors';
import { ApiAnswers } from '../http/api-doc.ts';
import { ApiProblems } from '../http/problem.ts';
import { projectOfRequest } from '../http/project-of-request.ts';
import { DATABASE } from '../http/tokens.ts';
import { JobDto } from './job-dto.ts';
import { viewOfJob } from './job-view.ts';

@Controller('v1/projects/:ref/provisioning')
@ApiTags('provisioning')
@ApiBearerAuth()
@ApiParam({ name: 'ref', type: String })
export class ProvisioningController {
  constructor(@Inject(DATABASE) private readonly database: Database) {}

  @Get()
  @ApiOperation({ operationId: 'getProvisioning', summary: 'Get the newest provisioning job with its steps' })
  @ApiAnswers(JobDto, 200)
  @ApiProblems('PROJECT_NOT_FOUND', 'JOB_NOT_FOUND')
  async latest(@Param('ref') ref: string) {
    const { id } = await projectOfRequest(this.database, ref);
    const job = await this.database.jobs.latest(id);
    if (!job) throw new AppError('JOB_NOT_FOUND');
    return viewOfJob(job);
  }

  @Get(':jobNo')
  @ApiOperation({ operationId: 'getProvisioningJob', summary: 'Get a provisioning job with its steps' })
  @ApiParam({ name: 'jobNo', schema: { type: 'integer', minimum: 1 } })
  @ApiAnswers(JobDto, 200)
  @ApiProblems('PROJECT_NOT_FOUND', 'JOB_NOT_FOUND')
  async get(@Param('ref') ref: string, @Param('jobNo') jobNo: string) {
    const { id } = await projectOfRequest(this.database, ref);
    if (!/^[1-9][0-9]{0,8}$/.test(jobNo)) throw new AppError('JOB_NOT_FOUND');
    return viewOfJob(await this.database.jobs.get(id, Number(jobNo)));
  }
}

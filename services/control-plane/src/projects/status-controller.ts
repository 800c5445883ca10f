import { Controller, Get, Inject, Param } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import type { Database } from '@sluice/database';
import { createZodDto } from 'nestjs-zod';
import { ApiAnswers } from '../http/api-doc.ts';
import { ApiProblems } from '../http/problem.ts';
import { projectOfRequest } from '../http/project-of-request.ts';
import { DATABASE } from '../http/tokens.ts';
import { statusOfProject, statusReportSchema } from './project-status.ts';

class StatusDto extends createZodDto(statusReportSchema) {}

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
    return statusOfProject(await this.database.projects.overview(id));
  }
}

import { Controller, Get, Inject } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Database } from '@sluice/database';
import { AppError } from '@sluice/errors';
import { createZodDto } from 'nestjs-zod';
import { z } from 'zod';
import { ApiAnswers } from '../http/api-doc.ts';
import { DATABASE } from '../http/tokens.ts';

class HealthDto extends createZodDto(
  z.strictObject({ status: z.literal('ok') }).meta({ id: 'Health', examples: [{ status: 'ok' }] }),
) {}

/** For probes, which have no token: `requireToken` lists these routes. */
@Controller('health')
@ApiTags('health')
export class HealthController {
  constructor(@Inject(DATABASE) private readonly database: Database) {}

  @Get('live')
  @ApiOperation({ operationId: 'getLiveness', summary: 'Whether the process turns' })
  @ApiAnswers(HealthDto, 200)
  live() {
    return { status: 'ok' as const };
  }

  @Get('ready')
  @ApiOperation({ operationId: 'getReadiness', summary: 'Whether the control database answers' })
  @ApiAnswers(HealthDto, 200)
  async ready() {
    try {
      await this.database.ping();
    } catch (cause) {
      throw new AppError('API_UNAVAILABLE', { cause });
    }
    return { status: 'ok' as const };
  }
}

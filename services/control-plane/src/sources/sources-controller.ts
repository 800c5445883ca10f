import { Body, Controller, Get, Inject, Param, Post, Put } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import {
  type Database,
  type KeyEncryption,
  openSecret,
  type SourceAddress,
  type SourceRecord,
  sealSecret,
} from '@sluice/database';
import { AppError, isAppError } from '@sluice/errors';
import type { SourceProvisioner } from '@sluice/source-steps';
import type { z } from 'zod';
import { ApiAnswers, ApiTakes } from '../http/api-doc.ts';
import { parseWith } from '../http/parse-with.ts';
import { ApiProblems, viewOfProblem } from '../http/problem.ts';
import { projectOfRequest } from '../http/project-of-request.ts';
import { DATABASE, HOST_POLICY, KEYS, PROVISIONER } from '../http/tokens.ts';
import { viewOfCheck } from '../jobs/job-view.ts';
import { problemOfChecks } from '../jobs/run-provisioning-job.ts';
import { parseCa } from './parse-ca.ts';
import { parseConnectionString } from './parse-connection-string.ts';
import type { HostPolicy } from './parse-host.ts';
import { PutSourceDto, SourceDto, SourceTestDto, type sourceSchema } from './source-dto.ts';

@Controller('v1/projects/:ref/source')
@ApiTags('sources')
@ApiBearerAuth()
@ApiParam({ name: 'ref', type: String })
export class SourcesController {
  constructor(
    @Inject(DATABASE) private readonly database: Database,
    @Inject(KEYS) private readonly keys: KeyEncryption,
    @Inject(HOST_POLICY) private readonly hostPolicy: HostPolicy,
    @Inject(PROVISIONER) private readonly provisioner: SourceProvisioner | undefined,
  ) {}

  @Put()
  @ApiOperation({
    operationId: 'putSource',
    summary: 'Set or replace the connection to the source',
    description: 'The password is encrypted and never given out again.',
  })
  @ApiTakes(PutSourceDto)
  @ApiAnswers(SourceDto, 200)
  @ApiProblems(
    'PROJECT_NOT_FOUND',
    'PROJECT_DELETING',
    'API_REQUEST_INVALID',
    'API_REQUEST_TOO_LARGE',
    'API_MEDIA_TYPE_UNSUPPORTED',
    'CONN_STRING_INVALID',
    'CONN_FIELD_REFUSED',
    'CONN_HOST_FORBIDDEN',
    'CONN_TLS_REQUIRED',
    'CONN_CA_INVALID',
  )
  async put(@Param('ref') ref: string, @Body(parseWith(PutSourceDto)) body: PutSourceDto) {
    const { id: projectId } = await projectOfRequest(this.database, ref);
    const { address, password } = parseConnectionString(body.connectionString, this.hostPolicy);
    const tlsCa = body.ca === undefined ? undefined : parseCa(body.ca);
    const before = await this.database.sources.find(projectId);
    if (before && (await this.isSame(before, { ...address, tlsCa }, password))) return viewOfSource(before);
    const source = await this.database.sources.put(projectId, { ...address, tlsCa }, (revision) =>
      sealSecret(this.keys, { projectId, field: 'source.password', revision }, password),
    );
    return viewOfSource(source);
  }

  /** Setting what is set already changes nothing, so that nobody reconnects and nothing known is forgotten. */
  private async isSame(before: SourceRecord, address: SourceAddress, password: string): Promise<boolean> {
    const keys = ['host', 'port', 'database', 'user', 'tlsMode', 'tlsCa'] as const;
    if (keys.some((key) => before[key] !== address[key])) return false;
    const { projectId, revision, sealedPassword } = before;
    try {
      const known = await openSecret(this.keys, { projectId, field: 'source.password', revision }, sealedPassword);
      return known === password;
    } catch (error) {
      // Setting it again is the remedy for a secret that cannot be read any more.
      if (isAppError(error, 'SECRET_UNREADABLE')) return false;
      throw error;
    }
  }

  @Get()
  @ApiOperation({ operationId: 'getSource', summary: 'Get the source, without its password' })
  @ApiAnswers(SourceDto, 200)
  @ApiProblems('PROJECT_NOT_FOUND', 'SOURCE_NOT_SET')
  async get(@Param('ref') ref: string) {
    const { id } = await projectOfRequest(this.database, ref);
    return viewOfSource(await this.database.sources.get(id));
  }

  @Post('test')
  @ApiOperation({
    operationId: 'testSource',
    summary: 'Connect to the source and check what replication needs',
    description: 'Changes nothing on the source. Checks of single tables are part of a deploy.',
  })
  @ApiAnswers(SourceTestDto, 200)
  @ApiProblems('PROJECT_NOT_FOUND', 'SOURCE_NOT_SET', 'SOURCE_WORKER_MISSING')
  async test(@Param('ref') ref: string) {
    const { id } = await projectOfRequest(this.database, ref);
    const { revision, state } = await this.database.sources.get(id);
    if (!this.provisioner) throw new AppError('SOURCE_WORKER_MISSING');
    const checks = await this.provisioner.preflight({ projectId: id, ref }, []);
    const problem = problemOfChecks(checks);
    // A source that is being streamed stays live whatever a test says: its stream reports for itself.
    if (state !== 'live') {
      const found = problem ? 'failed' : 'ready';
      await this.database.sources.report(id, {
        revision,
        state: found,
        problem,
        serverVersion: undefined,
        slot: undefined,
      });
    }
    return { ok: problem === undefined, checks: checks.map(viewOfCheck) };
  }
}

function viewOfSource(source: SourceRecord): z.infer<typeof sourceSchema> {
  return {
    host: source.host,
    port: source.port,
    database: source.database,
    user: source.user,
    tlsMode: source.tlsMode,
    hasCa: source.tlsCa !== undefined,
    slotName: source.slot?.slotName ?? null,
    publicationName: source.slot?.publicationName ?? null,
    serverVersion: source.serverVersion ?? null,
    state: source.state,
    problem: viewOfProblem(source.problem),
    updatedAt: source.updatedAt.toISOString(),
  };
}

import { Body, Controller, Get, Inject, Param, Put } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import {
  type ClientAuthKeys,
  type ClientAuthRecord,
  type Database,
  type Json,
  type KeyEncryption,
  type SecretPlace,
  sealSecret,
} from '@sluice/database';
import { unreachable } from '@sluice/errors';
import type { z } from 'zod';
import { ApiAnswers, ApiTakes } from '../http/api-doc.ts';
import { parseWith } from '../http/parse-with.ts';
import { ApiProblems } from '../http/problem.ts';
import { projectOfRequest } from '../http/project-of-request.ts';
import { DATABASE, HOST_POLICY, KEYS } from '../http/tokens.ts';
import type { HostPolicy } from '../sources/parse-host.ts';
import { checkJwks, checkJwksUrl, checkSharedSecret } from './check-client-auth.ts';
import { ClientAuthDto, type clientAuthSchema, type PutClientAuth, PutClientAuthDto } from './client-auth-dto.ts';

@Controller('v1/projects/:ref/client-auth')
@ApiTags('client authentication')
@ApiBearerAuth()
@ApiParam({ name: 'ref', type: String })
export class ClientAuthController {
  constructor(
    @Inject(DATABASE) private readonly database: Database,
    @Inject(KEYS) private readonly keys: KeyEncryption,
    @Inject(HOST_POLICY) private readonly hostPolicy: HostPolicy,
  ) {}

  @Put()
  @ApiOperation({
    operationId: 'putClientAuth',
    summary: "Set or replace how the tokens of the project's end users are verified",
    description: 'A shared secret is encrypted and never given out again.',
  })
  @ApiTakes(PutClientAuthDto)
  @ApiAnswers(ClientAuthDto, 200)
  @ApiProblems(
    'PROJECT_NOT_FOUND',
    'PROJECT_DELETING',
    'API_REQUEST_INVALID',
    'API_REQUEST_TOO_LARGE',
    'API_MEDIA_TYPE_UNSUPPORTED',
    'CLIENT_AUTH_INVALID',
    'CONN_HOST_FORBIDDEN',
  )
  async put(@Param('ref') ref: string, @Body(parseWith(PutClientAuthDto)) body: PutClientAuth) {
    const { id: projectId } = await projectOfRequest(this.database, ref);
    this.check(body);
    const { algorithms, audience, issuer, maxTokenAgeS } = body;
    const record = await this.database.clientAuths.put(
      projectId,
      { algorithms, audience, issuer, maxTokenAgeS },
      (revision) => this.keysToStore(body, { projectId, field: 'client-auth.shared-secret', revision }),
    );
    return viewOfClientAuth(record);
  }

  @Get()
  @ApiOperation({ operationId: 'getClientAuth', summary: 'Get the client authentication, without its secret' })
  @ApiAnswers(ClientAuthDto, 200)
  @ApiProblems('PROJECT_NOT_FOUND', 'CLIENT_AUTH_NOT_SET')
  async get(@Param('ref') ref: string) {
    const { id } = await projectOfRequest(this.database, ref);
    return viewOfClientAuth(await this.database.clientAuths.get(id));
  }

  private check(body: PutClientAuth): void {
    if (body.kind === 'shared-secret') checkSharedSecret(body.secret);
    else if (body.kind === 'jwks') checkJwks(body.jwks);
    else checkJwksUrl(body.url, this.hostPolicy);
  }

  private async keysToStore(body: PutClientAuth, place: SecretPlace): Promise<ClientAuthKeys> {
    switch (body.kind) {
      case 'shared-secret':
        return { kind: 'shared-secret', sealedSecret: await sealSecret(this.keys, place, body.secret) };
      case 'jwks':
        return { kind: 'jwks', jwks: body.jwks as Json }; // It came as JSON.
      case 'jwks-url':
        return { kind: 'jwks-url', url: body.url };
      default:
        return unreachable(body);
    }
  }
}

type ClientAuthView = z.infer<typeof clientAuthSchema>;

function viewOfClientAuth(record: ClientAuthRecord): ClientAuthView {
  const { keys } = record;
  return {
    kind: keys.kind,
    url: keys.kind === 'jwks-url' ? keys.url : null,
    jwks: keys.kind === 'jwks' ? (keys.jwks as ClientAuthView['jwks']) : null, // Stored by `put` above alone.
    algorithms: [...record.algorithms],
    issuer: record.issuer ?? null,
    audience: [...record.audience],
    maxTokenAgeS: record.maxTokenAgeS,
    updatedAt: record.updatedAt.toISOString(),
  };
}

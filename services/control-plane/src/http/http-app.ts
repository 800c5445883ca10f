import { type DynamicModule, Module } from '@nestjs/common';
import { APP_FILTER, APP_INTERCEPTOR, NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import type { Secret } from '@sluice/config';
import type { Database, KeyEncryption } from '@sluice/database';
import type { SourceProvisioner } from '@sluice/source-steps';
import type { Logger } from '@sluice/telemetry';
import { ZodSerializerInterceptor } from 'nestjs-zod';
import { ClientAuthController } from '../client-auth/client-auth-controller.ts';
import type { ControlPlaneEvents } from '../events.ts';
import { HealthController } from '../health/health-controller.ts';
import { Provisioning } from '../jobs/provisioning.ts';
import { ProvisioningController } from '../jobs/provisioning-controller.ts';
import { ProjectsController } from '../projects/projects-controller.ts';
import { StatusController } from '../projects/status-controller.ts';
import type { HostPolicy } from '../sources/parse-host.ts';
import { SourcesController } from '../sources/sources-controller.ts';
import type { RulesChecker } from '../sync-rules/check-rules.ts';
import { RulesController } from '../sync-rules/rules-controller.ts';
import { RulesToolsController } from '../sync-rules/rules-tools-controller.ts';
import { UpkeepController } from '../upkeep/upkeep-controller.ts';
import { nestLogger } from './nest-logger.ts';
import { ProblemFilter } from './problem-filter.ts';
import { requireToken } from './require-token.ts';
import { DATABASE, EVENTS, HOST_POLICY, KEYS, PROVISIONER, RULES_CHECKER } from './tokens.ts';

/** Enough for the longest rules file, whatever its characters are escaped to. */
export const BODY_BYTES_MAX = 1024 * 1024;
/** A request's headers and body must have arrived after this time. */
const REQUEST_TIMEOUT_MS = 15_000;

export interface HttpParts {
  readonly database: Database;
  readonly keys: KeyEncryption;
  readonly provisioning: Provisioning;
  readonly provisioner: SourceProvisioner | undefined;
  readonly checkRules: RulesChecker;
  readonly hostPolicy: HostPolicy;
  readonly token: Secret;
  readonly events: ControlPlaneEvents;
  readonly logger: Logger;
}

/** The API as an application that does not listen yet. */
export async function createHttpApp(parts: HttpParts): Promise<NestFastifyApplication> {
  const adapter = new FastifyAdapter({
    bodyLimit: BODY_BYTES_MAX,
    requestTimeout: REQUEST_TIMEOUT_MS,
    // Ids are ours: a caller's header must not write into our log.
    requestIdHeader: false,
    genReqId: () => `req-${crypto.randomUUID()}`,
    forceCloseConnections: 'idle',
  });
  const app = await NestFactory.create<NestFastifyApplication>(ApiModule.with(parts), adapter, {
    // Fastify's own parser refuses __proto__ keys and takes JSON alone once plain text is removed.
    bodyParser: false,
    logger: nestLogger(parts.logger),
    abortOnError: false,
  });
  const fastify = adapter.getInstance();
  fastify.removeContentTypeParser('text/plain');
  fastify.addHook('onRequest', requireToken(parts.token));
  let isClosing = false;
  fastify.addHook('preClose', async () => {
    isClosing = true;
  });
  fastify.addHook('onSend', async (request, reply) => {
    reply.header('x-request-id', request.id).header('cache-control', 'no-store');
    // A connection that falls idle after the close began would hold it until its keep-alive ends.
    if (isClosing) reply.header('connection', 'close');
  });
  fastify.addHook('onResponse', async (request, reply) => {
    parts.events.requestAnswered({
      method: request.method,
      route: request.routeOptions.url ?? 'none',
      status: reply.statusCode,
      durationMs: Math.round(reply.elapsedTime),
      requestId: request.id,
    });
  });
  return app;
}

@Module({})
class ApiModule {
  static with(parts: HttpParts): DynamicModule {
    return {
      module: ApiModule,
      controllers: [
        ProjectsController,
        StatusController,
        SourcesController,
        RulesController,
        RulesToolsController,
        ClientAuthController,
        ProvisioningController,
        UpkeepController,
        HealthController,
      ],
      providers: [
        { provide: DATABASE, useValue: parts.database },
        { provide: KEYS, useValue: parts.keys },
        { provide: PROVISIONER, useValue: parts.provisioner },
        { provide: RULES_CHECKER, useValue: parts.checkRules },
        { provide: HOST_POLICY, useValue: parts.hostPolicy },
        { provide: EVENTS, useValue: parts.events },
        { provide: Provisioning, useValue: parts.provisioning },
        { provide: APP_FILTER, useValue: new ProblemFilter(parts.events, BODY_BYTES_MAX) },
        // Answers are parsed by their schema, so a field that no schema names never leaves.
        { provide: APP_INTERCEPTOR, useClass: ZodSerializerInterceptor },
      ],
    };
  }
}

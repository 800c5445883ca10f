import type { Clock, ProjectId } from '@sluice/domain';
import { AppError } from '@sluice/errors';
import type { Prisma, PrismaClient } from '../generated/client.ts';
import { type Json, jsonColumn, jsonFromColumn } from '../json.ts';
import { lockActiveProject } from './lock-project.ts';

/** Where the keys come from that tokens are verified with. */
export type ClientAuthKeys =
  | { readonly kind: 'jwks-url'; readonly url: string }
  | { readonly kind: 'jwks'; readonly jwks: Json }
  | { readonly kind: 'shared-secret'; readonly sealedSecret: Uint8Array };

export interface ClientAuthRules {
  /** The exact `iss` of every token; undefined accepts any. */
  readonly issuer: string | undefined;
  /** A token's `aud` must name one of these. */
  readonly audience: readonly string[];
  readonly algorithms: readonly string[];
  /** Longest accepted lifetime of a token (`exp - iat`), seconds. */
  readonly maxTokenAgeS: number;
}

export interface ClientAuthRecord extends ClientAuthRules {
  readonly projectId: ProjectId;
  readonly keys: ClientAuthKeys;
  readonly revision: number;
  readonly updatedAt: Date;
}

/** How the end users of each project are known. */
export class ClientAuths {
  readonly #prisma: PrismaClient;
  readonly #clock: Clock;

  constructor(prisma: PrismaClient, clock: Clock) {
    this.#prisma = prisma;
    this.#clock = clock;
  }

  async find(projectId: ProjectId): Promise<ClientAuthRecord | undefined> {
    const row = await this.#prisma.clientAuth.findUnique({ where: { projectId } });
    return row ? recordFromRow(projectId, row) : undefined;
  }

  /** @throws AppError CLIENT_AUTH_NOT_SET */
  async get(projectId: ProjectId): Promise<ClientAuthRecord> {
    const record = await this.find(projectId);
    if (!record) throw new AppError('CLIENT_AUTH_NOT_SET');
    return record;
  }

  /**
   * Sets or replaces it as a whole. `keysFor` is given the revision that a sealed secret must be bound to.
   * @throws AppError PROJECT_NOT_FOUND, PROJECT_DELETING
   */
  async put(
    projectId: ProjectId,
    rules: ClientAuthRules,
    keysFor: (revision: number) => Promise<ClientAuthKeys>,
  ): Promise<ClientAuthRecord> {
    return await this.#prisma.$transaction(async (tx) => {
      await lockActiveProject(tx, projectId);
      const before = await tx.clientAuth.findUnique({ where: { projectId }, select: { revision: true } });
      const revision = (before?.revision ?? 0) + 1;
      const written = {
        ...keyColumns(await keysFor(revision)),
        issuer: rules.issuer ?? null,
        audience: [...rules.audience],
        algorithms: [...rules.algorithms],
        maxTokenAgeS: rules.maxTokenAgeS,
        revision,
        updatedAt: new Date(this.#clock.nowMs()),
      };
      const row = await tx.clientAuth.upsert({
        where: { projectId },
        create: { projectId, ...written },
        update: written,
      });
      return recordFromRow(projectId, row);
    });
  }
}

function keyColumns(keys: ClientAuthKeys) {
  const none = { jwksUrl: null, jwks: jsonColumn(undefined), sharedSecret: null };
  switch (keys.kind) {
    case 'jwks-url':
      return { ...none, kind: 'jwks_url' as const, jwksUrl: keys.url };
    case 'jwks':
      return { ...none, kind: 'jwks' as const, jwks: jsonColumn(keys.jwks) };
    case 'shared-secret':
      return { ...none, kind: 'shared_secret' as const, sharedSecret: new Uint8Array(keys.sealedSecret) };
  }
}

function recordFromRow(projectId: ProjectId, row: Prisma.ClientAuthGetPayload<object>): ClientAuthRecord {
  return {
    projectId,
    keys: keysFromRow(row),
    issuer: row.issuer ?? undefined,
    audience: row.audience,
    algorithms: row.algorithms,
    maxTokenAgeS: row.maxTokenAgeS,
    revision: row.revision,
    updatedAt: row.updatedAt,
  };
}

function keysFromRow(row: Prisma.ClientAuthGetPayload<object>): ClientAuthKeys {
  if (row.jwksUrl !== null) return { kind: 'jwks-url', url: row.jwksUrl };
  if (row.sharedSecret !== null) return { kind: 'shared-secret', sealedSecret: row.sharedSecret };
  return { kind: 'jwks', jwks: jsonFromColumn(row.jwks) ?? { keys: [] } };
}

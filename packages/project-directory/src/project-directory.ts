import { Secret } from '@sluice/config';
import type { Database, KeyEncryption, ProjectChange, ProjectOverview, SourceFinding, TlsMode } from '@sluice/database';
import { openSecret } from '@sluice/database';
import type { ProjectId } from '@sluice/domain';
import { isAppError } from '@sluice/errors';
import type { CompiledRules } from '@sluice/sync-rules';
import { planOf } from './plan-of.ts';

export interface ProjectListing {
  readonly projectId: ProjectId;
  readonly ref: string;
  readonly state: 'active' | 'deleting';
  /** Undefined until a source is set. `revision` rises with each change of the connection. */
  readonly source: { readonly revision: number } | undefined;
  /** The edition of the rules in force; undefined until a deploy has succeeded. */
  readonly activeRulesVersion: number | undefined;
  /** A deploy is queued or under way. */
  readonly isDeploying: boolean;
}

/** How to reach a source. For the replicator alone. */
export interface SourceConnection {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly user: string;
  readonly password: Secret;
  readonly tlsMode: TlsMode;
  /** PEM text; undefined for the system's authorities. */
  readonly tlsCa: string | undefined;
  /** Goes back with `reportSource`, so that a finding is never taken for one about a newer connection. */
  readonly revision: number;
}

/** How the gateway verifies tokens. */
export interface ClientAuth {
  readonly projectId: ProjectId;
  readonly keys:
    | { readonly kind: 'jwks-url'; readonly url: string }
    /** A JSON Web Key Set of public keys. */
    | { readonly kind: 'jwks'; readonly jwks: { readonly keys: readonly Readonly<Record<string, unknown>>[] } }
    /** The UTF-8 bytes of the text are the HMAC key. */
    | { readonly kind: 'shared-secret'; readonly secret: Secret };
  /** The exact `iss`; undefined accepts any. */
  readonly issuer: string | undefined;
  /** A token's `aud` must name one of these. */
  readonly audience: readonly string[];
  readonly algorithms: readonly string[];
  /** Longest accepted `exp - iat`, seconds. */
  readonly maxTokenAgeS: number;
  /** Rises with each change: a cache key. */
  readonly revision: number;
}

/**
 * What other services read of the control plane's tables. Reads always answer what is stored now;
 * `onProjectChanged` says when to read again. Each method may throw API_UNAVAILABLE, which is retryable.
 */
export interface ProjectDirectory {
  /** Every project that is not deleted. */
  listProjects(): Promise<readonly ProjectListing[]>;
  /** Undefined when there is no such project. */
  projectOf(projectId: ProjectId): Promise<ProjectListing | undefined>;
  /** Undefined when there is no such project, it is being deleted, or it has no client authentication. */
  clientAuthOf(ref: string): Promise<ClientAuth | undefined>;
  /** @throws AppError SOURCE_NOT_SET, SECRET_UNREADABLE */
  sourceConnectionOf(projectId: ProjectId): Promise<SourceConnection>;
  /** The compiled rules in force; undefined until a deploy has succeeded. */
  activeRulesOf(projectId: ProjectId): Promise<{ version: number; yaml: string; compiled: CompiledRules } | undefined>;
  /** One edition of the rules, in force or not. @throws AppError RULES_VERSION_NOT_FOUND */
  rulesOf(projectId: ProjectId, version: number): Promise<CompiledRules>;
  /** Makes a source's state visible in the API. Cheap to repeat: what did not change is not written. */
  reportSource(projectId: ProjectId, finding: SourceFinding): Promise<void>;
  /**
   * Calls `listener` after each committed change of a project, made by whichever process; `all` when changes may have
   * been missed. The first `all` comes once notifications flow. The returned function ends it.
   */
  onProjectChanged(listener: (change: ProjectChange) => void): () => void;
}

const PAGE_SIZE = 200;

export function createProjectDirectory(parts: {
  readonly database: Database;
  readonly keys: KeyEncryption;
  readonly listeners: Set<(change: ProjectChange) => void>;
}): ProjectDirectory {
  const { database, keys, listeners } = parts;
  return {
    async listProjects() {
      const listed: ProjectListing[] = [];
      for (;;) {
        const page = await database.projects.list({ afterRef: listed.at(-1)?.ref, limit: PAGE_SIZE });
        listed.push(...page.map(listingOf));
        if (page.length < PAGE_SIZE) return listed;
      }
    },
    async projectOf(projectId) {
      return await unlessMissing(async () => listingOf(await database.projects.overview(projectId)));
    },
    async clientAuthOf(ref) {
      const project = await unlessMissing(() => database.projects.byRef(ref));
      if (project?.state !== 'active') return undefined;
      const record = await database.clientAuths.find(project.id);
      if (!record) return undefined;
      const { keys: stored, revision, ...rules } = record;
      const place = { projectId: project.id, field: 'client-auth.shared-secret', revision } as const;
      switch (stored.kind) {
        case 'shared-secret': {
          const secret = new Secret(await openSecret(keys, place, stored.sealedSecret));
          return { ...rules, revision, keys: { kind: 'shared-secret', secret } };
        }
        case 'jwks':
          // Written by the client-auth route alone, which has checked its shape.
          return { ...rules, revision, keys: { kind: 'jwks', jwks: stored.jwks as unknown as StoredJwks } };
        case 'jwks-url':
          return { ...rules, revision, keys: stored };
      }
    },
    async sourceConnectionOf(projectId) {
      const source = await database.sources.get(projectId);
      const { host, port, database: name, user, tlsMode, tlsCa, revision } = source;
      const place = { projectId, field: 'source.password', revision } as const;
      const password = new Secret(await openSecret(keys, place, source.sealedPassword));
      return { host, port, database: name, user, password, tlsMode, tlsCa, revision };
    },
    async activeRulesOf(projectId) {
      const rules = await database.rules.active(projectId);
      return rules && { version: rules.version, yaml: rules.yaml, compiled: planOf(rules) };
    },
    async rulesOf(projectId, version) {
      return planOf(await database.rules.get(projectId, version));
    },
    async reportSource(projectId, finding) {
      await database.sources.report(projectId, finding);
    },
    onProjectChanged(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}

type StoredJwks = { readonly keys: readonly Readonly<Record<string, unknown>>[] };

function listingOf(project: ProjectOverview): ProjectListing {
  const { id, ref, state, source, activeRulesVersion, latestJob } = project;
  const isUnfinished = latestJob?.state === 'queued' || latestJob?.state === 'running';
  return {
    projectId: id,
    ref,
    state,
    source: source && { revision: source.revision },
    activeRulesVersion,
    isDeploying: isUnfinished && latestJob.kind === 'deploy',
  };
}

async function unlessMissing<T>(read: () => Promise<T>): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    if (isAppError(error, 'PROJECT_NOT_FOUND')) return undefined;
    throw error;
  }
}

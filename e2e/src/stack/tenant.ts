import { randomBytes } from 'node:crypto';
import type { ProjectId } from '@sluice/domain';
import { AppError, isAppError } from '@sluice/errors';
import { type SourceConnection, sourceConnectionFromUrl } from '@sluice/replicator';
import { type Catalog, type CompiledRules, parseAndCompile } from '@sluice/sync-rules';
import { waitFor } from '@sluice/testkit';
import { SignJWT } from 'jose';
import { Finding } from '../oracle/finding.ts';
import { openOracle, type SqlOracle } from '../oracle/sql-oracle.ts';
import { differences } from '../oracle/table-state.ts';
import { rulesYaml, type StreamSpec, TICKS_STREAM, type WritesSpec } from './rules.ts';
import { type Claims, createSourceDatabase, type SourceDatabase } from './source-database.ts';
import { connectClient, type SyncClient } from './sync-client.ts';

/** A deployment that a broken link ended is begun again as often as this. */
const DEPLOY_TRIES_MAX = 5;
export const ISSUER = 'e2e';
export const AUDIENCE = 'sluice:e2e';

export interface TenantSpec {
  /** What clients call the project. */
  readonly ref: string;
  readonly tablesSql: string;
  readonly streams: readonly StreamSpec[];
  readonly writes?: WritesSpec;
  /** The server that the source lives on; the shared one otherwise. */
  readonly cluster?: { readonly url: string };
  /** Where the replicator finds the source, when not at its own address. */
  readonly connectAs?: (url: string) => SourceConnection;
}

/** What a tenant needs of the stack that it lives in. */
export interface TenantHost {
  readonly gatewayPort: number;
  readCatalog(connection: SourceConnection): Promise<Catalog>;
  deploy(project: ProjectId, rules: CompiledRules, rulesVersion: number): Promise<void>;
}

/** One project: a source with its tables, rules, users and their clients. */
export class Tenant implements AsyncDisposable {
  readonly ref: string;
  readonly project: ProjectId;
  readonly source: SourceDatabase;
  readonly oracle: SqlOracle;
  readonly tokenSecret = randomBytes(32);
  /** The rules that are deployed, with the stream of ticks. */
  streams: readonly StreamSpec[] = [];
  /** Those that clients may see: while a deployment runs, the old and the new ones. */
  visibleStreams: readonly StreamSpec[] = [];
  /** The compiled rules in force. */
  rules: CompiledRules | undefined;
  readonly #host: TenantHost;
  readonly #connectAs: (url: string) => SourceConnection;
  readonly #writes: WritesSpec | undefined;
  readonly #clients = new Set<SyncClient>();
  #rulesVersion = 0;

  private constructor(
    parts: { spec: TenantSpec; project: ProjectId; source: SourceDatabase; oracle: SqlOracle },
    host: TenantHost,
  ) {
    this.ref = parts.spec.ref;
    this.project = parts.project;
    this.source = parts.source;
    this.oracle = parts.oracle;
    this.#connectAs = parts.spec.connectAs ?? sourceConnectionFromUrl;
    this.#writes = parts.spec.writes;
    this.#host = host;
  }

  /** Makes the source and its tables; nothing is deployed yet. */
  static async create(spec: TenantSpec, project: ProjectId, host: TenantHost): Promise<Tenant> {
    const source = await createSourceDatabase(spec.ref, spec.tablesSql, spec.cluster);
    return new Tenant({ spec, project, source, oracle: await openOracle(source.url) }, host);
  }

  connection(): SourceConnection {
    return this.#connectAs(this.source.url);
  }

  /** Makes `streams` the rules that serve; resolves when they do. */
  async deploy(streams: readonly StreamSpec[]): Promise<void> {
    const wanted = [TICKS_STREAM, ...streams];
    this.visibleStreams = [...new Set([...this.streams, ...wanted])];
    try {
      await this.#deployInTries(wanted, DEPLOY_TRIES_MAX);
      this.streams = wanted;
    } finally {
      this.visibleStreams = this.streams;
    }
  }

  /** Tries again as the control plane's jobs do when the link to the source breaks in the middle. */
  async #deployInTries(wanted: readonly StreamSpec[], triesLeft: number): Promise<void> {
    try {
      const rules = await compile(wanted, this.#writes, await this.#host.readCatalog(this.connection()));
      this.#rulesVersion++;
      await this.#host.deploy(this.project, rules, this.#rulesVersion);
      this.rules = rules;
    } catch (error) {
      if (!isAppError(error) || error.definition.retry !== 'retry' || triesLeft === 1) throw error;
      await this.#deployInTries(wanted, triesLeft - 1);
    }
  }

  /** @throws AppError SCHEMA_CHANGED */
  async compileDeployed(catalog: Catalog): Promise<CompiledRules> {
    const result = await parseAndCompile(rulesYaml(this.streams, this.#writes), catalog);
    if (result.kind === 'ok') return result.rules;
    throw new AppError('SCHEMA_CHANGED', { internal: JSON.stringify(result.diagnostics) });
  }

  token(claims: Claims, lifetime = '2h'): Promise<string> {
    return new SignJWT({ ...claims })
      .setProtectedHeader({ alg: 'HS256' })
      .setIssuer(ISSUER)
      .setAudience(AUDIENCE)
      .setIssuedAt()
      .setExpirationTime(lifetime)
      .sign(this.tokenSecret);
  }

  /** Signs a user in on a device of its own. `sub` alone may be given for the claims. */
  async connect(user: Claims | string, options: { tapped?: boolean; file?: string } = {}): Promise<SyncClient> {
    const claims = typeof user === 'string' ? { sub: user } : user;
    const client = await connectClient({
      gatewayPort: this.#host.gatewayPort,
      projectRef: this.ref,
      claims,
      token: () => this.token(claims),
      isTapped: options.tapped ?? false,
      file: options.file,
    });
    this.#clients.add(client);
    return client;
  }

  /** Resolves once every one of the clients holds everything that was committed so far. */
  async caughtUp(...clients: readonly SyncClient[]): Promise<void> {
    const tick = await this.source.commit();
    await Promise.all(clients.map((client) => client.reaches(tick)));
  }

  /**
   * Waits until the clients are current and compares each with the rules' own SQL run for its user on the source, table
   * by table, and with the checksums that it was sent (L9). @throws Finding that says what differs.
   */
  async expectEqual(...clients: readonly SyncClient[]): Promise<void> {
    await this.caughtUp(...clients);
    for (const client of clients) {
      const found = await this.differences(client);
      if (found.length > 0) throw new Finding(`${client.claims.sub} differs from SQL\n${found.join('\n')}`);
      const { ok, problems } = await client.sdk.verify();
      if (!ok) throw new Finding(`${client.claims.sub} does not verify\n${problems.join('\n')}`);
    }
  }

  /** As `expectEqual`, once a table that changed has been copied again: until then clients go on with what it was. */
  async becomeEqual(...clients: readonly SyncClient[]): Promise<void> {
    await this.caughtUp(...clients);
    const isEqual = async (client: SyncClient): Promise<boolean> => {
      const found = await this.differences(client);
      if (found.length > 0) throw new Finding(`${client.claims.sub} differs from SQL\n${found.join('\n')}`);
      return true;
    };
    const options = { what: 'the changed tables to be copied', timeoutMs: 60_000, intervalMs: 100 };
    for (const client of clients) await waitFor(() => isEqual(client), options);
    await this.expectEqual(...clients);
  }

  /** What the client holds, against what SQL gives its user now. */
  async differences(client: SyncClient): Promise<string[]> {
    const [expected] = await this.oracle.statesOf([client.claims], this.streams);
    return differences(expected ?? new Map(), await client.state(this.streams));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) await client[Symbol.asyncDispose]();
    await this.oracle[Symbol.asyncDispose]();
    await this.source[Symbol.asyncDispose]();
  }
}

async function compile(
  streams: readonly StreamSpec[],
  writes: WritesSpec | undefined,
  catalog: Catalog,
): Promise<CompiledRules> {
  const result = await parseAndCompile(rulesYaml(streams, writes), catalog);
  if (result.kind === 'ok') return result.rules;
  throw new Error(`the rules do not compile: ${JSON.stringify(result.diagnostics)}`);
}

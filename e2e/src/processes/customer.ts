import type { TcpProxy } from '@sluice/testkit';
import { SignJWT } from 'jose';
import { openOracle, type SqlOracle } from '../oracle/sql-oracle.ts';
import { differences } from '../oracle/table-state.ts';
import { rulesYaml, type StreamSpec, TICKS_STREAM, type WritesSpec } from '../stack/rules.ts';
import type { Claims, SourceDatabase } from '../stack/source-database.ts';
import { connectClient, type SyncClient } from '../stack/sync-client.ts';

export const ISSUER = 'e2e';
export const AUDIENCE = 'sluice:e2e';

/** What a customer needs of the platform that it is on. */
export interface CustomerHost {
  /** Where clients find a gateway. */
  readonly gatewayPort: number;
  call(method: string, route: string, body?: unknown): Promise<Readonly<Record<string, unknown>>>;
}

export interface CustomerParts {
  readonly ref: string;
  readonly project: number;
  readonly source: SourceDatabase;
  /** The link over which replicators reach the source, when it can be broken. */
  readonly link: TcpProxy | undefined;
  readonly tokenSecret: string;
}

/** One project on the platform, with its source and its users. */
export class Customer implements AsyncDisposable {
  readonly ref: string;
  readonly project: number;
  readonly source: SourceDatabase;
  readonly link: TcpProxy | undefined;
  /** The rules that are deployed, with the stream of ticks. */
  streams: readonly StreamSpec[] = [];
  /** Those that clients may see: while a deployment runs, the old and the new ones. */
  visibleStreams: readonly StreamSpec[] = [];
  readonly #host: CustomerHost;
  readonly #tokenSecret: string;
  readonly #clients = new Set<SyncClient>();
  #oracle: SqlOracle;

  private constructor(host: CustomerHost, parts: CustomerParts, oracle: SqlOracle) {
    this.#host = host;
    this.ref = parts.ref;
    this.project = parts.project;
    this.source = parts.source;
    this.link = parts.link;
    this.#tokenSecret = parts.tokenSecret;
    this.#oracle = oracle;
  }

  static async create(host: CustomerHost, parts: CustomerParts): Promise<Customer> {
    return new Customer(host, parts, await openOracle(parts.source.url));
  }

  get oracle(): SqlOracle {
    return this.#oracle;
  }

  /** Asks that `streams` become the rules; `deployed` says when they serve. */
  async beginDeploy(streams: readonly StreamSpec[], writes?: WritesSpec): Promise<void> {
    const base = `/v1/projects/${this.ref}`;
    const wanted = [TICKS_STREAM, ...streams];
    const rules = await this.#host.call('POST', `${base}/rules`, { yaml: rulesYaml(wanted, writes) });
    this.visibleStreams = [...new Set([...this.streams, ...wanted])];
    this.streams = wanted;
    await this.#host.call('POST', `${base}/rules/${String(rules.version)}/deploy`);
  }

  /** Clients may see nothing but the rules that were deployed last. */
  endDeploy(): void {
    this.visibleStreams = this.streams;
  }

  /** Signs a user in on a device of its own. `sub` alone may be given for the claims. */
  async connect(
    user: Claims | string,
    options: { readonly isTapped?: boolean; readonly gatewayPort?: number } = {},
  ): Promise<SyncClient> {
    const claims = typeof user === 'string' ? { sub: user } : user;
    const client = await connectClient({
      gatewayPort: options.gatewayPort ?? this.#host.gatewayPort,
      projectRef: this.ref,
      claims,
      token: () => this.#token(claims),
      isTapped: options.isTapped ?? false,
    });
    this.#clients.add(client);
    return client;
  }

  /** Waits until the clients hold all that was committed, and compares them with SQL. @throws Error that says what differs */
  async expectEqual(...clients: readonly SyncClient[]): Promise<void> {
    const tick = await this.source.commit();
    await Promise.all(clients.map((client) => client.reaches(tick)));
    for (const client of clients) await this.expectStateOf(client);
  }

  /** Compares what the client shows with what SQL gives now. @throws Error that says what differs */
  async expectStateOf(client: SyncClient): Promise<void> {
    const [expected] = await this.#oracle.statesOf([client.claims], this.streams);
    const found = differences(expected ?? new Map(), await client.state(this.streams));
    if (found.length > 0) throw new Error(`${client.claims.sub} differs from SQL\n${found.join('\n')}`);
    const { ok, problems } = await client.sdk.verify();
    if (!ok) throw new Error(`${client.claims.sub} does not verify\n${problems.join('\n')}`);
  }

  /** After the source's server was started again. */
  async reconnectToSource(): Promise<void> {
    await this.source.reconnect();
    await this.#oracle[Symbol.asyncDispose]();
    this.#oracle = await openOracle(this.source.url);
  }

  async remove(): Promise<void> {
    await this.#host.call('DELETE', `/v1/projects/${this.ref}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) await client[Symbol.asyncDispose]();
    this.#clients.clear();
    await this.#oracle[Symbol.asyncDispose]();
    await this.source[Symbol.asyncDispose]();
    await this.link?.[Symbol.asyncDispose]();
  }

  #token(claims: Claims): Promise<string> {
    return new SignJWT({ ...claims })
      .setProtectedHeader({ alg: 'HS256' })
      .setIssuer(ISSUER)
      .setAudience(AUDIENCE)
      .setIssuedAt()
      .setExpirationTime('1h')
      .sign(new TextEncoder().encode(this.#tokenSecret));
  }
}

import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { freePort } from '@sluice/embedded-postgres';
import { freshCluster, freshDatabase, freshRedis, waitFor } from '@sluice/testkit';
import { SignJWT } from 'jose';
import { openOracle, type SqlOracle } from '../oracle/sql-oracle.ts';
import { differences } from '../oracle/table-state.ts';
import { rulesYaml, type StreamSpec, TICKS_STREAM } from '../stack/rules.ts';
import { createSourceDatabase, type SourceDatabase } from '../stack/source-database.ts';
import { connectClient, type SyncClient } from '../stack/sync-client.ts';
import { type FrontDoor, frontDoor } from './front-door.ts';
import { type ServiceName, ServiceProcess } from './service-process.ts';

const ISSUER = 'e2e';
const AUDIENCE = 'sluice:e2e';
const DEPLOY_MS = 60_000;

interface Job {
  readonly state: string;
  readonly steps: readonly unknown[];
}

/** One project on the platform, with its source and its users. */
export interface Customer {
  readonly ref: string;
  readonly source: SourceDatabase;
  connect(user: string): Promise<SyncClient>;
  /** Waits until the clients hold all that was committed, and compares them with SQL. @throws Error that says what differs */
  expectEqual(...clients: readonly SyncClient[]): Promise<void>;
  remove(): Promise<void>;
}

/** Services as processes beside each other, over one Redis, one control database and one store. */
export class Platform implements AsyncDisposable {
  readonly #opened: AsyncDisposable[] = [];
  readonly #processes: ServiceProcess[] = [];
  readonly #gatewayPorts: number[] = [];
  readonly #token = randomBytes(24).toString('hex');
  #env: Readonly<Record<string, string>> = {};
  #door: FrontDoor | undefined;
  #api = '';
  storeUrl = '';

  static async start(): Promise<Platform> {
    const platform = new Platform();
    // The platform's databases are on a server of their own, since a slot decodes the WAL of its whole server.
    const cluster = platform.#own(await freshCluster({ wal_level: 'replica' }));
    const control = platform.#own(await freshDatabase('control', cluster));
    const store = platform.#own(await freshDatabase('store', cluster));
    const redis = platform.#own(await freshRedis());
    const folder = await mkdtemp(path.join(tmpdir(), 'sluice-processes-'));
    platform.#own({ [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) });
    platform.storeUrl = store.url;
    platform.#env = {
      CONTROL_PLANE_TOKEN: platform.#token,
      CONTROL_DATABASE_URL: control.url,
      CONTROL_KEY_FILE: path.join(folder, 'keys'),
      BUCKET_STORE_URL: store.url,
      REDIS_URL: redis.url,
      SOURCE_HOSTS: 'local',
      SLUICE_GATEWAY_DRAIN_MS: '0',
      SLUICE_GATEWAY_ORIGINS: '*',
      SLUICE_HEARTBEAT_MS: '1000',
    };
    platform.#door = platform.#own(await frontDoor(() => platform.#gatewayPorts));
    return platform;
  }

  /** Starts one more process; resolves when it is ready. */
  async add(name: ServiceName): Promise<ServiceProcess> {
    const [port, health] = [await freePort(), await freePort()];
    const env = {
      ...this.#env,
      CONTROL_PLANE_PORT: String(port),
      SLUICE_GATEWAY_PORT: String(port),
      SLUICE_GATEWAY_HEALTH_PORT: String(health),
      SLUICE_REPLICATOR_HEALTH_PORT: String(health),
      SLUICE_BUCKET_WORKER_HEALTH_PORT: String(health),
    };
    const isControlPlane = name === 'control-plane';
    const readyUrl = `http://127.0.0.1:${isControlPlane ? `${port}/health/ready` : `${health}/readyz`}`;
    const added = new ServiceProcess(name, env, readyUrl);
    this.#processes.push(added);
    await added.ready();
    if (isControlPlane) this.#api = `http://127.0.0.1:${port}`;
    if (name === 'gateway') this.#gatewayPorts.push(port);
    return added;
  }

  /** Everything that was logged, for a failing test to print. */
  get log(): string {
    return this.#processes.map(({ log }) => log).join('\n');
  }

  /** Makes a project with a source and rules through the API; resolves when they serve. */
  async addCustomer(label: string, tablesSql: string, streams: readonly StreamSpec[]): Promise<Customer> {
    const source = this.#own(await createSourceDatabase(label, tablesSql));
    const oracle = this.#own(await openOracle(source.url));
    const tokenSecret = randomBytes(32).toString('hex');
    const { ref } = (await this.call('POST', '/v1/projects', { name: label })) as { ref: string };
    const base = `/v1/projects/${ref}`;
    const url = new URL(source.url);
    url.searchParams.set('sslmode', 'disable');
    await this.call('PUT', `${base}/source`, { connectionString: url.href });
    const auth = { kind: 'shared-secret', secret: tokenSecret, issuer: ISSUER, audience: [AUDIENCE] };
    await this.call('PUT', `${base}/client-auth`, auth);
    const all = [TICKS_STREAM, ...streams];
    const rules = await this.call('POST', `${base}/rules`, { yaml: rulesYaml(all) });
    await this.call('POST', `${base}/rules/${String(rules.version)}/deploy`);
    await this.deployed(ref);
    const token = (user: string): Promise<string> =>
      new SignJWT({ sub: user })
        .setProtectedHeader({ alg: 'HS256' })
        .setIssuer(ISSUER)
        .setAudience(AUDIENCE)
        .setIssuedAt()
        .setExpirationTime('1h')
        .sign(new TextEncoder().encode(tokenSecret));
    return {
      ref,
      source,
      connect: async (user) =>
        this.#own(
          await connectClient({
            gatewayPort: this.#door?.port ?? 0,
            projectRef: ref,
            claims: { sub: user },
            token: () => token(user),
            isTapped: false,
          }),
        ),
      expectEqual: (...clients) => expectEqual({ source, oracle, streams: all }, clients),
      remove: async () => {
        await this.call('DELETE', base);
      },
    };
  }

  /** Waits for the newest provisioning job to succeed. */
  async deployed(ref: string): Promise<void> {
    const isDone = async (): Promise<boolean> => {
      const job = (await this.call('GET', `/v1/projects/${ref}/provisioning`)) as unknown as Job;
      if (job.state === 'failed') throw new Error(`the deploy failed: ${JSON.stringify(job)}\n${this.log}`);
      return job.state === 'succeeded';
    };
    await waitFor(isDone, { what: 'the deploy', timeoutMs: DEPLOY_MS });
  }

  /** A request to the newest control plane. @throws Error with the answer unless it is a success */
  async call(method: string, route: string, body?: unknown): Promise<Readonly<Record<string, unknown>>> {
    const response = await fetch(`${this.#api}${route}`, {
      method,
      headers: { authorization: `Bearer ${this.#token}`, ...(body === undefined ? {} : JSON_HEADER) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const answer = (await response.json()) as Record<string, unknown>; // Every answer of the control plane is an object.
    if (!response.ok) throw new Error(`${method} ${route}: ${JSON.stringify(answer)}`);
    return answer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#processes.map((started) => started.kill()));
    for (const opened of this.#opened.reverse()) await opened[Symbol.asyncDispose]();
  }

  #own<T extends AsyncDisposable>(opened: T): T {
    this.#opened.push(opened);
    return opened;
  }
}

const JSON_HEADER = { 'content-type': 'application/json' };

async function expectEqual(
  of: { readonly source: SourceDatabase; readonly oracle: SqlOracle; readonly streams: readonly StreamSpec[] },
  clients: readonly SyncClient[],
): Promise<void> {
  const tick = await of.source.commit();
  await Promise.all(clients.map((client) => client.reaches(tick)));
  for (const client of clients) {
    const [expected] = await of.oracle.statesOf([client.claims], of.streams);
    const found = differences(expected ?? new Map(), await client.state(of.streams));
    if (found.length > 0) throw new Error(`${client.claims.sub} differs from SQL\n${found.join('\n')}`);
    const { ok, problems } = await client.sdk.verify();
    if (!ok) throw new Error(`${client.claims.sub} does not verify\n${problems.join('\n')}`);
  }
}

import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { freePort } from '@sluice/embedded-postgres';
import { type FreshRedis, freshCluster, freshDatabase, freshRedis, query, waitFor } from '@sluice/testkit';
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
  readonly project: number;
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
  #redis: FreshRedis | undefined;
  storeUrl = '';

  static async start(): Promise<Platform> {
    const platform = new Platform();
    // The platform's databases are on a server of their own, since a slot decodes the WAL of its whole server.
    const cluster = platform.#own(await freshCluster({ wal_level: 'replica' }));
    const control = platform.#own(await freshDatabase('control', cluster));
    const store = platform.#own(await freshDatabase('store', cluster));
    const redis = platform.#own(await freshRedis());
    platform.#redis = redis;
    const folder = await mkdtemp(path.join(tmpdir(), 'sluice-processes-'));
    platform.#own({ [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) });
    platform.storeUrl = store.url;
    platform.#env = {
      CONTROL_PLANE_TOKEN: platform.#token,
      CONTROL_DATABASE_URL: control.url,
      CONTROL_KEY_FILE: path.join(folder, 'keys'),
      REDIS_URL: redis.url,
      SOURCE_HOSTS: 'local',
      SLUICE_GATEWAY_DRAIN_MS: '0',
      SLUICE_GATEWAY_ORIGINS: '*',
      SLUICE_HEARTBEAT_MS: '1000',
    };
    platform.#door = platform.#own(await frontDoor(() => platform.#gatewayPorts));
    return platform;
  }

  get redis(): FreshRedis {
    if (!this.#redis) throw new Error('the platform is not started');
    return this.#redis;
  }

  /** Starts one more process; resolves when it is ready. */
  async add(name: ServiceName): Promise<ServiceProcess> {
    const [port, health] = [await freePort(), await freePort()];
    const label = `${name}-${this.#processes.length}`;
    const store = new URL(this.storeUrl);
    // The store's log of who wrote what goes by this name.
    store.searchParams.set('application_name', label);
    const env = {
      ...this.#env,
      BUCKET_STORE_URL: store.href,
      CONTROL_PLANE_PORT: String(port),
      SLUICE_GATEWAY_PORT: String(port),
      SLUICE_GATEWAY_HEALTH_PORT: String(health),
      SLUICE_REPLICATOR_HEALTH_PORT: String(health),
      SLUICE_BUCKET_WORKER_HEALTH_PORT: String(health),
    };
    const isControlPlane = name === 'control-plane';
    const readyUrl = `http://127.0.0.1:${isControlPlane ? `${port}/health/ready` : `${health}/readyz`}`;
    const added = new ServiceProcess(label, name, env, readyUrl);
    this.#processes.push(added);
    await added.ready();
    if (isControlPlane) this.#api = `http://127.0.0.1:${port}`;
    if (name === 'gateway') this.#gatewayPorts.push(port);
    return added;
  }

  /** The process that holds the source of the project, by the store's lease. */
  async replicatorOf(customer: Customer): Promise<ServiceProcess> {
    const sql = 'select lease_holder as holder from sluice_store.project where project = $1';
    return this.#processOf(await query<{ holder: string }>(this.storeUrl, sql, [customer.project]));
  }
  /** The process that holds the first shard of the project, by the store's lease. */
  async workerOf(customer: Customer): Promise<ServiceProcess> {
    const sql = 'select holder from sluice_store.shard_lease where project = $1 and shard = 0';
    return this.#processOf(await query<{ holder: string }>(this.storeUrl, sql, [customer.project]));
  }
  #processOf([row]: readonly { readonly holder: string | null }[]): ServiceProcess {
    const found = this.#processes.find(({ workerId }) => workerId === row?.holder);
    if (!found) throw new Error(`nobody is ${row?.holder}`);
    return found;
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
    const [row] = await query<{ id: number }>(
      this.#env.CONTROL_DATABASE_URL ?? '',
      'select id from project where ref = $1',
      [ref],
    );
    return {
      ref,
      project: row?.id ?? 0,
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

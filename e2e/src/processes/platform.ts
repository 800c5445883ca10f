import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { freePort } from '@sluice/embedded-postgres';
import {
  type FreshCluster,
  type FreshRedis,
  freshCluster,
  freshDatabase,
  freshRedis,
  identifier,
  query,
  tcpProxy,
  waitFor,
} from '@sluice/testkit';
import type { StreamSpec, WritesSpec } from '../stack/rules.ts';
import { createSourceDatabase } from '../stack/source-database.ts';
import { AUDIENCE, Customer, ISSUER } from './customer.ts';
import { type FrontDoor, frontDoor } from './front-door.ts';
import { type ProcessLinks, type ServiceName, ServiceProcess } from './service-process.ts';

const DEPLOY_MS = 60_000;
/** Processes that ended are kept for their logs, the newest of them. */
const ENDED_KEPT = 8;

interface Job {
  readonly state: string;
  readonly steps: readonly unknown[];
}

export interface PlatformOptions {
  /** Each process reaches store and Redis over links of its own, and each source is reached over one, that a test can break. */
  readonly hasLinks?: boolean;
  /** Settings of the services, over those that every platform here has. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Gives the folder for the rows of the store; without it they lie with the rest of the platform's server. */
  readonly storeFolder?: (cluster: FreshCluster) => Promise<string>;
}

/** Services as processes beside each other, over one Redis, one control database and one store. */
export class Platform implements AsyncDisposable {
  readonly #opened: AsyncDisposable[] = [];
  #processes: ServiceProcess[] = [];
  readonly #gatewayPorts = new Map<ServiceProcess, number>();
  readonly #token = randomBytes(24).toString('hex');
  readonly #hasLinks: boolean;
  readonly #settings: Record<string, string>;
  #env: Readonly<Record<string, string>> = {};
  #door: FrontDoor | undefined;
  #api = '';
  #started = 0;
  #redis: FreshRedis | undefined;
  #cluster: FreshCluster | undefined;
  storeUrl = '';

  private constructor(options: PlatformOptions) {
    this.#hasLinks = options.hasLinks ?? false;
    this.#settings = { ...options.settings };
  }

  static async start(options: PlatformOptions = {}): Promise<Platform> {
    const platform = new Platform(options);
    // The platform's databases are on a server of their own, since a slot decodes the WAL of its whole server.
    const cluster = platform.#own(await freshCluster({ wal_level: 'replica' }));
    const control = platform.#own(await freshDatabase('control', cluster));
    const store = platform.#own(await freshDatabase('store', cluster));
    if (options.storeFolder) await moveTo(await options.storeFolder(cluster), cluster, store.name);
    const redis = platform.#own(await freshRedis());
    platform.#redis = redis;
    platform.#cluster = cluster;
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
    platform.#door = platform.#own(
      await frontDoor(() =>
        platform.running('gateway').flatMap((gateway) => platform.#gatewayPorts.get(gateway) ?? []),
      ),
    );
    return platform;
  }

  get redis(): FreshRedis {
    if (!this.#redis) throw new Error('the platform is not started');
    return this.#redis;
  }

  /** The server of the store and the control database. */
  get cluster(): FreshCluster {
    if (!this.#cluster) throw new Error('the platform is not started');
    return this.#cluster;
  }

  /** Where clients find a gateway. */
  get gatewayPort(): number {
    return this.#door?.port ?? 0;
  }

  /** Starts one more process; resolves when it is ready. */
  async add(name: ServiceName): Promise<ServiceProcess> {
    const label = `${name}-${this.#started++}`;
    const links = this.#hasLinks ? await this.#links() : undefined;
    // Last of all, so that nothing of ours takes them in between.
    const [port, health] = [await freePort(), await freePort()];
    const env = {
      ...this.#env,
      ...this.#settings,
      // The store's log of who wrote what goes by this name.
      BUCKET_STORE_URL: rewritten(this.storeUrl, { port: links?.store.port, applicationName: label }),
      CONTROL_DATABASE_URL: rewritten(this.#env.CONTROL_DATABASE_URL ?? '', { port: links?.store.port }),
      REDIS_URL: rewritten(this.redis.url, { port: links?.redis.port }),
      CONTROL_PLANE_PORT: String(port),
      SLUICE_GATEWAY_PORT: String(port),
      SLUICE_GATEWAY_HEALTH_PORT: String(health),
      SLUICE_REPLICATOR_HEALTH_PORT: String(health),
      SLUICE_BUCKET_WORKER_HEALTH_PORT: String(health),
      SLUICE_WRITER_HEALTH_PORT: String(health),
    };
    const isControlPlane = name === 'control-plane';
    const readyUrl = `http://127.0.0.1:${isControlPlane ? `${port}/health/ready` : `${health}/readyz`}`;
    const added = new ServiceProcess({ label, name, env, readyUrl, links });
    this.#processes.push(added);
    await added.ready();
    if (isControlPlane) this.#api = `http://127.0.0.1:${port}`;
    if (name === 'gateway') this.#gatewayPorts.set(added, port);
    await this.#forgetEnded();
    return added;
  }

  /** Settings of processes that are added from now on. */
  set(settings: Readonly<Record<string, string>>): void {
    Object.assign(this.#settings, settings);
  }

  running(name: ServiceName): readonly ServiceProcess[] {
    return this.#processes.filter((process) => process.name === name && process.isRunning);
  }

  /** Those that ended though nobody here asked them to. */
  get crashed(): readonly ServiceProcess[] {
    return this.#processes.filter(({ hasCrashed }) => hasCrashed);
  }
  /** They were told of. */
  forgetCrashed(): void {
    this.#processes = this.#processes.filter(({ hasCrashed }) => !hasCrashed);
  }

  /** Connections of clients that the gateway has. */
  connectionsTo(gateway: ServiceProcess): number {
    return this.#door?.connectionsTo(this.#gatewayPorts.get(gateway) ?? 0) ?? 0;
  }

  /** The process that holds the source of the project, by the store's lease. */
  async replicatorOf(customer: Customer): Promise<ServiceProcess> {
    const sql = 'select lease_holder as holder from sluice_store.project where project = $1';
    return this.#processOf(await query<{ holder: string }>(this.storeUrl, sql, [customer.project]));
  }
  /** The process that holds a shard of the project, by the store's lease. */
  async workerOf(customer: Customer, shard = 0): Promise<ServiceProcess> {
    const sql = 'select holder from sluice_store.shard_lease where project = $1 and shard = $2';
    return this.#processOf(await query<{ holder: string }>(this.storeUrl, sql, [customer.project, shard]));
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
  async addCustomer(
    label: string,
    tablesSql: string,
    streams: readonly StreamSpec[],
    options: { readonly cluster?: { readonly url: string }; readonly writes?: WritesSpec } = {},
  ): Promise<Customer> {
    const source = await createSourceDatabase(label, tablesSql, options.cluster);
    const link = this.#hasLinks ? await tcpProxy({ port: Number(new URL(source.url).port) }) : undefined;
    const tokenSecret = randomBytes(32).toString('hex');
    const { ref } = (await this.call('POST', '/v1/projects', { name: label })) as { ref: string };
    const base = `/v1/projects/${ref}`;
    const url = new URL(rewritten(source.url, { port: link?.port }));
    url.searchParams.set('sslmode', 'disable');
    await this.call('PUT', `${base}/source`, { connectionString: url.href });
    const auth = { kind: 'shared-secret', secret: tokenSecret, issuer: ISSUER, audience: [AUDIENCE] };
    await this.call('PUT', `${base}/client-auth`, auth);
    const [row] = await query<{ id: number }>(
      this.#env.CONTROL_DATABASE_URL ?? '',
      'select id from project where ref = $1',
      [ref],
    );
    const parts = { ref, project: row?.id ?? 0, source, link, tokenSecret };
    const customer = this.#own(await Customer.create(this, parts));
    await customer.beginDeploy(streams, options.writes);
    await this.deployed(ref);
    customer.endDeploy();
    return customer;
  }

  /** Deletes the project and drops its database, once its slot is gone. */
  async removeCustomer(customer: Customer): Promise<void> {
    await customer.remove();
    const { writer } = customer.source;
    const hasSlots = async (): Promise<boolean> => {
      const sql = 'select 1 from pg_replication_slots where database = current_database()';
      return (await writer.query(sql)).rows.length > 0;
    };
    await waitFor(async () => !(await hasSlots()), { what: 'the slot to go', timeoutMs: 60_000 });
    this.#opened.splice(this.#opened.indexOf(customer), 1);
    await customer[Symbol.asyncDispose]();
  }

  /** Waits for the newest provisioning job to succeed. */
  async deployed(ref: string, timeoutMs = DEPLOY_MS): Promise<void> {
    const isDone = async (): Promise<boolean> => {
      const state = await this.jobState(ref);
      if (state === 'failed') throw new Error('the deploy failed');
      return state === 'succeeded';
    };
    await waitFor(isDone, { what: 'the deploy', timeoutMs });
  }

  /** Where the newest provisioning job stands. */
  async jobState(ref: string): Promise<string> {
    return ((await this.call('GET', `/v1/projects/${ref}/provisioning`)) as unknown as Job).state;
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
    await Promise.all(this.#processes.map((started) => started[Symbol.asyncDispose]()));
    for (const opened of this.#opened.reverse()) await opened[Symbol.asyncDispose]();
  }

  async #links(): Promise<ProcessLinks> {
    const store = await tcpProxy({ port: this.cluster.port });
    return { store, redis: await tcpProxy({ port: this.redis.port }) };
  }

  async #forgetEnded(): Promise<void> {
    const ended = this.#processes.filter(({ isRunning }) => !isRunning).slice(0, -ENDED_KEPT);
    this.#processes = this.#processes.filter((process) => !ended.includes(process));
    for (const process of ended) {
      this.#gatewayPorts.delete(process);
      await process[Symbol.asyncDispose]();
    }
  }

  #own<T extends AsyncDisposable>(opened: T): T {
    this.#opened.push(opened);
    return opened;
  }
}

const JSON_HEADER = { 'content-type': 'application/json' };

function rewritten(
  url: string,
  to: { readonly port: number | undefined; readonly applicationName?: string | undefined },
): string {
  const parsed = new URL(url);
  if (to.port !== undefined) parsed.port = String(to.port);
  if (to.applicationName !== undefined) parsed.searchParams.set('application_name', to.applicationName);
  return parsed.href;
}

async function moveTo(folder: string, cluster: FreshCluster, database: string): Promise<void> {
  await query(cluster.url, `create tablespace of_store location '${folder}'`);
  await query(cluster.url, `alter database ${identifier(database)} set tablespace of_store`);
}

import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createPostgresBucketStore } from '@sluice/bucket-store';
import { type ProjectId, parseProjectId } from '@sluice/domain';
import { freePort } from '@sluice/embedded-postgres';
import { createRedisWakeUps } from '@sluice/op-queue';
import { systemClock } from '@sluice/telemetry';
import { type FreshRedis, freshRedis, query, waitFor } from '@sluice/testkit';
import { AUDIENCE, type Followed, ISSUER } from '../stack.ts';
import { type ServiceName, ServiceProcess } from './service-process.ts';

const DEPLOY_MS = 120_000;
const JSON_HEADER = { 'content-type': 'application/json' };

export interface PlatformOptions {
  /** The server that holds the store and the control database, as its superuser. */
  readonly serverUrl: string;
  /** Begins the names of its databases. */
  readonly name: string;
  readonly shards: number;
  readonly workers: number;
  readonly hasGateway: boolean;
  readonly sourceUrl: string;
  readonly rulesYaml: string;
  readonly tokenSecret: string;
}

/**
 * One project on services that are processes of their own, over a Redis of their own: one replicator, some bucket workers
 * and, if asked for, a gateway.
 */
export interface Platform extends Followed, AsyncDisposable {
  readonly ref: string;
  readonly storeUrl: string;
  /** Empty without a gateway. */
  readonly gatewayUrl: string;
  readonly replicator: ServiceProcess;
  /** Processor time that replicator, workers and Redis have used so far, milliseconds. */
  cpuMs(): Promise<number>;
}

/** Starts everything and deploys the rules; resolves when they are live. */
export async function startPlatform(options: PlatformOptions): Promise<Platform> {
  const opened: AsyncDisposable[] = [];
  const close = async (): Promise<void> => {
    for (const part of opened.reverse()) await part[Symbol.asyncDispose]();
  };
  try {
    return { ...(await open(options, opened)), [Symbol.asyncDispose]: close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function open(
  options: PlatformOptions,
  opened: AsyncDisposable[],
): Promise<Omit<Platform, keyof AsyncDisposable>> {
  const redis = await freshRedis();
  opened.push(redis);
  const folder = await mkdtemp(path.join(tmpdir(), 'sluice-bench-processes-'));
  opened.push({ [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) });
  const controlUrl = await createDatabase(options.serverUrl, `${options.name}_control`);
  const storeUrl = await createDatabase(options.serverUrl, `${options.name}_store`);
  const token = randomBytes(24).toString('hex');
  const env = environment(options, { controlUrl, storeUrl, redis, token, folder });
  const start = (name: ServiceName) => startService(name, env, opened);

  const api = await start('control-plane');
  const replicator = await start('replicator');
  const workers: ServiceProcess[] = [];
  for (let i = 0; i < options.workers; i++) workers.push((await start('bucket-worker')).service);
  const gateway = options.hasGateway ? await start('gateway') : undefined;
  const ref = await provision(options, { url: `http://127.0.0.1:${api.port}`, token });
  // From here on it has nothing to do but to look whether it has.
  await api.service[Symbol.asyncDispose]();

  const store = createPostgresBucketStore({ url: storeUrl, poolMax: 2 });
  opened.push({ [Symbol.asyncDispose]: () => store.close() });
  const wakeUps = await createRedisWakeUps({ url: redis.url, clock: systemClock, onTrouble: raise });
  opened.push({ [Symbol.asyncDispose]: () => wakeUps.close() });
  return {
    project: await projectOf(controlUrl, ref),
    ref,
    storeUrl,
    gatewayUrl: gateway ? `ws://127.0.0.1:${gateway.port}/sync` : '',
    dataPlane: { store, wakeUps },
    replicator: replicator.service,
    async cpuMs() {
      const parts = [replicator.service, ...workers].map((service) => service.cpuMs());
      return parts.reduce((sum, ms) => sum + ms, await redis.cpuMs());
    },
  };
}

function environment(
  options: PlatformOptions,
  made: {
    readonly controlUrl: string;
    readonly storeUrl: string;
    readonly redis: FreshRedis;
    readonly token: string;
    readonly folder: string;
  },
): Record<string, string> {
  return {
    CONTROL_PLANE_TOKEN: made.token,
    CONTROL_DATABASE_URL: made.controlUrl,
    CONTROL_KEY_FILE: path.join(made.folder, 'keys'),
    BUCKET_STORE_URL: made.storeUrl,
    REDIS_URL: made.redis.url,
    SOURCE_HOSTS: 'local',
    SLUICE_SHARDS: String(options.shards),
    SLUICE_GATEWAY_DRAIN_MS: '0',
    SLUICE_GATEWAY_ORIGINS: '*',
    LOG_LEVEL: 'warn',
  };
}

async function startService(
  name: ServiceName,
  env: Readonly<Record<string, string>>,
  opened: AsyncDisposable[],
): Promise<{ readonly service: ServiceProcess; readonly port: number }> {
  const [port, health] = [await freePort(), await freePort()];
  const service = new ServiceProcess(name, {
    ...env,
    CONTROL_PLANE_PORT: String(port),
    SLUICE_GATEWAY_PORT: String(port),
    SLUICE_GATEWAY_HEALTH_PORT: String(health),
    SLUICE_REPLICATOR_HEALTH_PORT: String(health),
    SLUICE_BUCKET_WORKER_HEALTH_PORT: String(health),
  });
  opened.push(service);
  const isControlPlane = name === 'control-plane';
  await service.ready(`http://127.0.0.1:${isControlPlane ? `${port}/health/ready` : `${health}/readyz`}`);
  return { service, port };
}

/** Makes a project with the source and the rules; answers its name when they are live. */
async function provision(
  options: PlatformOptions,
  api: { readonly url: string; readonly token: string },
): Promise<string> {
  const call = async (method: string, route: string, body?: unknown): Promise<Readonly<Record<string, unknown>>> => {
    const response = await fetch(`${api.url}${route}`, {
      method,
      headers: { authorization: `Bearer ${api.token}`, ...(body === undefined ? {} : JSON_HEADER) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const answer = (await response.json()) as Record<string, unknown>; // Every answer of the control plane is an object.
    if (!response.ok) throw new Error(`${method} ${route}: ${JSON.stringify(answer)}`);
    return answer;
  };
  const ref = String((await call('POST', '/v1/projects', { name: 'bench' })).ref);
  const base = `/v1/projects/${ref}`;
  const source = new URL(options.sourceUrl);
  source.searchParams.set('sslmode', 'disable');
  await call('PUT', `${base}/source`, { connectionString: source.href });
  const auth = { kind: 'shared-secret', secret: options.tokenSecret, issuer: ISSUER, audience: [AUDIENCE] };
  await call('PUT', `${base}/client-auth`, auth);
  const { version } = await call('POST', `${base}/rules`, { yaml: options.rulesYaml });
  await call('POST', `${base}/rules/${String(version)}/deploy`);
  const isLive = async (): Promise<boolean> => {
    const job = await call('GET', `${base}/provisioning`);
    if (job.state === 'failed') throw new Error(`the deployment failed: ${JSON.stringify(job)}`);
    return job.state === 'succeeded';
  };
  await waitFor(isLive, { what: 'the deployment', timeoutMs: DEPLOY_MS });
  return ref;
}

export async function createDatabase(serverUrl: string, name: string): Promise<string> {
  await query(serverUrl, `create database ${name}`);
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  return url.href;
}

async function projectOf(controlUrl: string, ref: string): Promise<ProjectId> {
  const [row] = await query<{ id: number }>(controlUrl, 'select id from project where ref = $1', [ref]);
  return parseProjectId(row?.id ?? 0);
}

/** A measurement over a Redis in trouble measures nothing. */
function raise(error: Error): never {
  throw error;
}

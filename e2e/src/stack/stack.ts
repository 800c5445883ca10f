import { createDataPlane, type DataPlane, type Queues } from '@sluice/all-in-one';
import { type ProjectId, parseProjectId } from '@sluice/domain';
import { AppError, isAppError } from '@sluice/errors';
import { defaultGatewayConfig } from '@sluice/gateway';
import type { Tuning } from '@sluice/replicator';
import { createLogger, systemClock } from '@sluice/telemetry';
import { freshCluster, freshDatabase, query } from '@sluice/testkit';
import { AUDIENCE, ISSUER, Tenant, type TenantHost, type TenantSpec } from './tenant.ts';

/** Log records kept for a failing test. */
const LOG_RECORDS_MAX = 200;

export interface StackOptions {
  readonly tuning?: Partial<Tuning>;
  readonly heartbeatMs?: number;
  /** Compaction and retention, when a test does not want them as they are by default. */
  readonly housekeeping?: NonNullable<Parameters<typeof createDataPlane>[0]['housekeeping']>;
  /** What joins the parts, when not the queues within this process. */
  readonly queues?: Queues;
  /** The server that the store lives on; one of the stack's own otherwise. */
  readonly storeCluster?: { readonly url: string };
}

/** Replicator, worker and gateway over a Postgres bucket store, all real, and the tenants that a test adds. */
export interface Stack extends AsyncDisposable {
  readonly dataPlane: DataPlane;
  readonly gatewayPort: number;
  /** The bucket store's database, for looking at what is stored. */
  readonly storeUrl: string;
  /** Makes a source, and its project with it; with `streams`, resolves when these are deployed. */
  addTenant(spec: TenantSpec): Promise<Tenant>;
  /** The tenant of that name, also one whose rules could not be deployed. */
  tenant(ref: string): Tenant;
  /** Ends the project and drops its source. */
  removeTenant(tenant: Tenant): Promise<void>;
  /** Ends replication, worker and gateway and starts them anew over the same store. */
  restart(): Promise<void>;
  /** Ends every session on the store's database, as a failing store would. */
  killStoreSessions(): Promise<void>;
  /** The newest log records, for a failing test to print. */
  log(): string;
}

/** The store is on a server of its own, since a slot decodes the WAL of its whole server. */
export async function startStack(options: StackOptions = {}): Promise<Stack> {
  const ownCluster = options.storeCluster ? undefined : await freshCluster({ wal_level: 'replica' });
  const storeCluster = options.storeCluster ?? ownCluster;
  if (!storeCluster) throw new Error('a store lives on a server');
  const storeDatabase = await freshDatabase('store', storeCluster);
  const tenants = new Map<ProjectId, Tenant>();
  let lastProject = 0;
  const records: string[] = [];
  const logger = createLogger({
    service: 'e2e',
    level: 'info',
    clock: systemClock,
    destination: {
      write(record) {
        records.push(record);
        if (records.length > LOG_RECORDS_MAX) records.shift();
      },
    },
  });
  const tenantOf = (project: ProjectId): Tenant => {
    const found = tenants.get(project);
    if (!found) throw new AppError('PROJECT_NOT_FOUND');
    return found;
  };
  const start = (port: number): Promise<DataPlane> =>
    createDataPlane({
      storeUrl: storeDatabase.url,
      clock: systemClock,
      logger,
      sourceOf: async (project) => tenantOf(project).connection(),
      rulesOf: async (project) => tenantOf(project).rules,
      compileRules: (project, catalog) => tenantOf(project).compileDeployed(catalog),
      directory: {
        projectByRef: async (ref) => directoryEntry([...tenants.values()].find((tenant) => tenant.ref === ref)),
      },
      gateway: { ...defaultGatewayConfig, port, allowedOrigins: ['*'], drainMs: 0 },
      heartbeatMs: options.heartbeatMs ?? 10_000,
      ...(options.housekeeping ? { housekeeping: options.housekeeping } : {}),
      ...(options.tuning ? { tuning: options.tuning } : {}),
      ...(options.queues ? { queues: options.queues } : {}),
      onProjectStopped: (project, error) => logger.error('project stopped', { projectId: project, error }),
    });

  let dataPlane = await start(0);
  const { port: gatewayPort } = await dataPlane.gateway.listen();
  const host: TenantHost = {
    gatewayPort,
    readCatalog: (connection) => dataPlane.replicator.readCatalog(connection),
    deploy: (project, rules, rulesVersion) => dataPlane.replicator.deploy(project, { rules, rulesVersion }),
  };
  return {
    get dataPlane() {
      return dataPlane;
    },
    gatewayPort,
    storeUrl: storeDatabase.url,
    async addTenant(spec) {
      const tenant = await Tenant.create(spec, parseProjectId(++lastProject), host);
      tenants.set(tenant.project, tenant);
      dataPlane.startProject(tenant.project);
      await tenant.deploy(spec.streams);
      dataPlane.projectChanged(tenant.project);
      return tenant;
    },
    tenant(ref) {
      const found = [...tenants.values()].find((tenant) => tenant.ref === ref);
      if (!found) throw new RangeError(`there is no tenant ${ref}`);
      return found;
    },
    async removeTenant(tenant) {
      await dataPlane.stopProject(tenant.project);
      await tenant[Symbol.asyncDispose]();
      await eraseProject(dataPlane.store, tenant.project);
      tenants.delete(tenant.project);
    },
    async restart() {
      await dataPlane.close();
      dataPlane = await start(gatewayPort);
      await dataPlane.gateway.listen();
      for (const tenant of tenants.values()) dataPlane.startProject(tenant.project);
    },
    async killStoreSessions() {
      const sql = 'select pg_terminate_backend(pid) from pg_stat_activity where datname = $1';
      await query(storeCluster.url, sql, [storeDatabase.name]);
    },
    log: () => records.join(''),
    async [Symbol.asyncDispose]() {
      await dataPlane.close();
      for (const tenant of tenants.values()) await tenant[Symbol.asyncDispose]();
      await storeDatabase[Symbol.asyncDispose]();
      await ownCluster?.[Symbol.asyncDispose]();
    },
  };
}

type DirectoryEntry = Awaited<ReturnType<Parameters<typeof createDataPlane>[0]['directory']['projectByRef']>>;

function directoryEntry(tenant: Tenant | undefined): DirectoryEntry {
  if (!tenant) return undefined;
  return {
    project: tenant.project,
    auth: {
      issuer: ISSUER,
      audience: AUDIENCE,
      algorithms: ['HS256'],
      maxTokenAgeSeconds: 86_400,
      keys: { kind: 'hs256', secret: tenant.tokenSecret },
    },
  };
}

/** Others kill the store's sessions that often at most while one project is erased. */
const ERASE_TRIES_MAX = 20;

/** Begins again when another history killed the store's session in the middle. */
async function eraseProject(store: DataPlane['store'], project: ProjectId): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      return await store.eraseProject(project);
    } catch (error) {
      if (!isAppError(error, 'STORE_UNAVAILABLE') || tries === ERASE_TRIES_MAX) throw error;
    }
  }
}

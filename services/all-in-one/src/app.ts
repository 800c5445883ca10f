import path from 'node:path';
import { Secret } from '@sluice/config';
import { createControlPlane, type ProjectChange, type SourceProvisioner } from '@sluice/control-plane';
import { type Clock, parseProjectId } from '@sluice/domain';
import { controlDirectory } from '@sluice/gateway';
import { compileDeployed, reportSources, sourceOf } from '@sluice/project-directory';
import { auditFindings } from '@sluice/replicator';
import type { Logger } from '@sluice/telemetry';
import pg from 'pg';
import { chooseRedis } from './choose-redis.ts';
import { Closers } from './closers.ts';
import type { AllInOneConfig } from './config.ts';
import { createDataPlane, type DataPlane } from './data-plane.ts';
import { DEMO_CREW } from './demo/crew.ts';
import { createManagementApi } from './demo/management-api.ts';
import { DEMO_AUDIENCE, DEMO_ISSUER, provisionDemo } from './demo/provision.ts';
import { prepareWrites, seedTenant } from './demo/seed.ts';
import { SimulatorSwitch } from './demo/simulator-switch.ts';
import { type LocalSecrets, readOrMakeSecrets } from './embedded/secrets.ts';
import { ensureDatabase, startServers } from './embedded/servers.ts';
import { openQueues, type Queues } from './open-queues.ts';
import { startDemoServer } from './web/demo-server.ts';
import { portFrom } from './web/port-from.ts';

const DAY_MS = 86_400_000;
const HEARTBEAT_MS = 10_000;
/** There is no other gateway to go to, so clients are not sent away one by one. */
const DRAIN_MS = 0;
const TENANT_DATABASE = 'departures';
const BOARD_ROOT = path.resolve(import.meta.dirname, '../../../examples/departures/dist');

export interface AllInOneOptions {
  readonly config: AllInOneConfig;
  readonly clock: Clock;
  readonly logger: Logger;
  /** One line of progress for the person who started it. */
  readonly report: (line: string) => void;
}

export interface Addresses {
  readonly board: string;
  readonly gateway: string;
  readonly controlPlane: string;
  readonly controlPlaneToken: string;
  /** The tenant's database, as its owner. */
  readonly tenantDatabase: string;
  readonly users: readonly string[];
}

/** Runs everything until the signal is aborted; `onReady` is told where it all is. Resolves when fully stopped. */
export async function runAllInOne(
  options: AllInOneOptions,
  onReady: (addresses: Addresses) => void,
  signal: AbortSignal,
): Promise<void> {
  const { config, clock, logger, report } = options;
  await using stack = new Closers();
  const home = path.resolve(config.SLUICE_HOME);
  const secrets = await readOrMakeSecrets(home);
  const servers = await startServers(home, secrets, report);
  stack.defer(async () => servers[Symbol.asyncDispose]());
  const tenantUrl = await ensureDatabase(servers.tenant, TENANT_DATABASE);
  await seed(options, tenantUrl, secrets);

  const redisUrl = await chooseRedis({ config, home, clock, logger, report }, stack);
  const queues = await openQueues(redisUrl, { clock, logger });
  stack.defer(() => queues.close());

  const boardPort = await portFrom(config.SLUICE_DEMO_PORT);
  const { controlPlane, dataPlane } = await joinPlanes(options, secrets, {
    control: await ensureDatabase(servers.platform, 'sluice_control'),
    store: await ensureDatabase(servers.platform, 'sluice_store'),
    redisUrl,
    queues,
    home,
    // The page may be opened under either name of this machine.
    origins: [`http://127.0.0.1:${boardPort}`, `http://localhost:${boardPort}`],
  });
  stack.defer(() => dataPlane.close());
  stack.defer(() => controlPlane.close());
  const gateway = await dataPlane.gateway.listen();
  const control = await controlPlane.listen();

  const sourceUrl = new URL(tenantUrl);
  sourceUrl.username = 'sluice_replication';
  sourceUrl.password = secrets.replicationPassword;
  sourceUrl.searchParams.set('sslmode', 'disable');
  const projectRef = await provisionDemo({
    api: createManagementApi(control.url, secrets.controlPlaneToken),
    sourceUrl: sourceUrl.href,
    tokenSecret: secrets.demoTokenSecret,
    clock,
    report,
    signal,
  });
  if (signal.aborted) return;
  await followProjects(controlPlane.directory, dataPlane, stack);
  const reporting = reportSources(
    {
      directory: controlPlane.directory,
      store: dataPlane.store,
      clock,
      onError: (error) => logger.warn('source states not reported', { error }),
    },
    signal,
  );
  stack.defer(() => reporting);

  const simulator = new SimulatorSwitch({
    url: tenantUrl,
    clock,
    changesPerSecond: config.SLUICE_DEMO_CHANGES_PER_SECOND,
    onError: (error) => logger.warn('traffic simulator stopped', { error }),
  });
  stack.defer(() => simulator.stop());
  simulator.setRunning(config.SLUICE_DEMO_TRAFFIC);
  const board = await startDemoServer(
    {
      root: BOARD_ROOT,
      gatewayUrl: gateway.url,
      projectRef,
      issuer: DEMO_ISSUER,
      audience: DEMO_AUDIENCE,
      tokenSecret: new TextEncoder().encode(secrets.demoTokenSecret),
      simulator,
    },
    boardPort,
  );
  stack.defer(() => board.close());
  onReady({
    board: board.url,
    gateway: gateway.url,
    controlPlane: control.url,
    controlPlaneToken: secrets.controlPlaneToken,
    tenantDatabase: tenantUrl,
    users: DEMO_CREW.map(({ name, id }) => `${name} (${id})`),
  });
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
  report('stopping');
}

async function seed({ clock, report }: AllInOneOptions, tenantUrl: string, secrets: LocalSecrets): Promise<void> {
  const client = new pg.Client({ connectionString: tenantUrl });
  await client.connect();
  try {
    report('demo data: airports and flights');
    await seedTenant(client, clock, secrets.replicationPassword);
    await prepareWrites(client);
  } finally {
    await client.end();
  }
}

/** The control plane asks for steps on sources, the replicator runs them: this is where the two meet. */
async function joinPlanes(
  { config, clock, logger }: AllInOneOptions,
  secrets: LocalSecrets,
  places: {
    readonly control: string;
    readonly store: string;
    /** Undefined: jobs stay in the control database. */
    readonly redisUrl: string | undefined;
    readonly queues: Queues;
    readonly home: string;
    readonly origins: readonly string[];
  },
): Promise<{ controlPlane: Awaited<ReturnType<typeof createControlPlane>>; dataPlane: DataPlane }> {
  const provisioner: SourceProvisioner = {
    preflight: async ({ projectId }, tables) =>
      dataPlane.replicator.preflight(await sourceOf(controlPlane.directory, projectId), tables, projectId),
    catalog: async ({ projectId }) =>
      dataPlane.replicator.readCatalog(await sourceOf(controlPlane.directory, projectId)),
    estimateRows: async ({ projectId }, tables) =>
      dataPlane.replicator.estimateRows(await sourceOf(controlPlane.directory, projectId), tables),
    preview: async ({ projectId }, { compiled }, as) =>
      dataPlane.replicator.previewStreams(await sourceOf(controlPlane.directory, projectId), compiled.streams, as),
    explain: async ({ projectId }, { compiled }, as) =>
      dataPlane.replicator.explainRow(await sourceOf(controlPlane.directory, projectId), compiled.streams, as),
    async apply({ projectId }, { version, compiled }, onProgress, signal) {
      dataPlane.startProject(projectId);
      // Reports are written one after the other; the first refusal (the job was withdrawn) is thrown at the end.
      let reported = Promise.resolve();
      await untilAborted(
        signal,
        dataPlane.replicator.deploy(
          projectId,
          { rules: compiled, rulesVersion: version },
          ({ step, rowsDone, rowsEstimate }) => {
            reported = reported.then(() =>
              onProgress({ step, done: rowsDone, estimate: rowsEstimate === 0 ? undefined : rowsEstimate }),
            );
            reported.catch(() => {});
          },
        ),
      );
      await reported;
    },
    reshard: ({ projectId }, shards, signal) => dataPlane.replicator.reshard(projectId, shards, signal),
    audit: async ({ projectId }, signal) => auditFindings(await dataPlane.replicator.audit(projectId, signal)),
    async release({ projectId }, signal) {
      await dataPlane.stopProject(projectId);
      await dataPlane.replicator.release(projectId, signal);
      await dataPlane.store.eraseProject(projectId);
    },
  };
  const controlPlane = await createControlPlane({
    config: {
      CONTROL_PLANE_TOKEN: new Secret(secrets.controlPlaneToken),
      CONTROL_PLANE_PORT: await portFrom(config.SLUICE_CONTROL_PLANE_PORT),
      CONTROL_DATABASE_URL: new Secret(places.control),
      CONTROL_KEY_FILE: path.join(places.home, 'key-encryption-keys.json'),
      REDIS_URL: places.redisUrl === undefined ? undefined : new Secret(places.redisUrl),
      SOURCE_HOSTS: 'local',
    },
    provisioner,
    logger,
    clock,
  });
  const dataPlane = await createDataPlane({
    storeUrl: places.store,
    queues: places.queues,
    clock,
    logger,
    sourceOf: (project) => sourceOf(controlPlane.directory, project),
    compileRules: async (project, catalog) =>
      compileDeployed((await controlPlane.directory.activeRulesOf(project))?.yaml, catalog),
    rulesOf: async (project) => (await controlPlane.directory.activeRulesOf(project))?.compiled,
    // One process per home folder, which the embedded servers see to.
    holder: 'all-in-one',
    directory: controlDirectory(controlPlane.directory),
    gateway: {
      port: await portFrom(config.SLUICE_GATEWAY_PORT),
      allowedOrigins: places.origins,
      drainMs: DRAIN_MS,
      allowPrivateKeySets: true,
    },
    heartbeatMs: HEARTBEAT_MS,
    housekeeping: { retentionMs: config.SLUICE_RETENTION_DAYS * DAY_MS },
    onProjectStopped: (projectId, error) => logger.error('project stopped', { projectId, error }),
  });
  return { controlPlane, dataPlane };
}

/** Starts what is there and whatever comes: a project streams from when it has a source and rules. */
async function followProjects(
  directory: Awaited<ReturnType<typeof createControlPlane>>['directory'],
  dataPlane: DataPlane,
  stack: Closers,
): Promise<void> {
  const start = async (): Promise<void> => {
    for (const project of await directory.listProjects())
      if (project.state === 'active' && project.activeRulesVersion !== undefined)
        dataPlane.startProject(parseProjectId(project.projectId));
  };
  const onChanged = (change: ProjectChange): void => {
    dataPlane.projectChanged(change.kind === 'all' ? undefined : change.projectId);
    void start();
  };
  stack.defer(directory.onProjectChanged(onChanged));
  await start();
}

/** A deployment goes on in the replicator; who asked for it may stop waiting. @throws the signal's reason */
function untilAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    work.then(resolve, reject);
  });
}

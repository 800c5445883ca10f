import { type BucketStore, createPostgresBucketStore, migrateBucketStore } from '@sluice/bucket-store';
import { createBucketWorker, createHousekeeper, type HousekeepingSettings } from '@sluice/bucket-worker';
import type { Clock, ProjectId } from '@sluice/domain';
import {
  createGateway,
  defaultGatewayConfig,
  type Gateway,
  type GatewayConfig,
  type GatewayOptions,
} from '@sluice/gateway';
import type { WakeUps } from '@sluice/op-queue';
import { createReplicator, type Replicator, type ReplicatorOptions } from '@sluice/replicator';
import type { Logger } from '@sluice/telemetry';
import { createWriter, type WriterOptions } from '@sluice/writer';
import { memoryQueues, type Queues } from './open-queues.ts';

const STORE_CONNECTIONS_MAX = 12;

export interface DataPlaneOptions {
  readonly storeUrl: string;
  /** What joins the parts; its opener closes it after the data plane. Without it they are joined within this process. */
  readonly queues?: Queues;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly sourceOf: ReplicatorOptions['sourceOf'];
  /** Without it a project stops when the rules have to be compiled again. */
  readonly compileRules?: NonNullable<ReplicatorOptions['compileRules']>;
  /** The rules in force; without it clients write nothing. */
  readonly rulesOf?: WriterOptions['rulesOf'];
  readonly tuning?: NonNullable<ReplicatorOptions['tuning']>;
  /** As the replicator's option of this name. */
  readonly holder?: string;
  readonly directory: GatewayOptions['directory'];
  readonly gateway: Partial<GatewayConfig>;
  readonly heartbeatMs: number;
  /** Compaction and retention; what is left out is as by default. */
  readonly housekeeping?: Partial<HousekeepingSettings>;
  /** Called when a project stopped for good (L17); the others go on. */
  readonly onProjectStopped: (project: ProjectId, error: unknown) => void;
}

export interface DataPlane {
  readonly store: BucketStore;
  readonly wakeUps: WakeUps;
  readonly replicator: Replicator;
  readonly gateway: Gateway;
  /** Begins to stream and apply a project; harmless when it already does. */
  startProject(project: ProjectId): void;
  /** Resolves when nothing of the project runs any more. */
  stopProject(project: ProjectId): Promise<void>;
  /** Rules or the source of a project may have changed; without one, those of all. */
  projectChanged(project?: ProjectId): void;
  /** Ends everything in order: clients first, the store last. */
  close(): Promise<void>;
}

/** Replicator, bucket worker, writer and gateway in one process, joined by queues over a Postgres bucket store. */
export async function createDataPlane(options: DataPlaneOptions): Promise<DataPlane> {
  const { clock, logger } = options;
  await migrateBucketStore(options.storeUrl);
  const store = createPostgresBucketStore({ url: options.storeUrl, poolMax: STORE_CONNECTIONS_MAX });
  const { queue, wakeUps } = options.queues ?? memoryQueues();
  const shared = { store, queue, wakeUps, clock };
  const replicator = createReplicator({
    ...shared,
    logger,
    sourceOf: options.sourceOf,
    heartbeatMs: options.heartbeatMs,
    ...(options.compileRules ? { compileRules: options.compileRules } : {}),
    ...(options.tuning ? { tuning: options.tuning } : {}),
  });
  const worker = createBucketWorker({ ...shared, logger });
  const writer =
    options.rulesOf && createWriter({ sourceOf: options.sourceOf, rulesOf: options.rulesOf, clock, logger });
  const gateway = createGateway({
    store,
    wakeUps,
    clock,
    logger,
    directory: options.directory,
    uploads: writer,
    config: { ...defaultGatewayConfig, ...options.gateway },
  });
  const housekeeping = new AbortController();
  const runs = new Map<ProjectId, { readonly controller: AbortController; readonly ended: Promise<void> }>();

  const housekeeper = createHousekeeper({
    store,
    clock,
    logger,
    projects: () => [...runs.keys()],
    ...(options.housekeeping ? { settings: options.housekeeping } : {}),
  });
  const housekept = housekeeper.run(housekeeping.signal);

  /** When one half of a project fails, the other half is stopped as well: neither goes on alone. */
  async function run(project: ProjectId, controller: AbortController): Promise<void> {
    const halves = [replicator.run(project, controller.signal), worker.runProject(project, controller.signal)].map(
      (half) =>
        half.catch((error: unknown) => {
          if (!controller.signal.aborted) options.onProjectStopped(project, error);
          controller.abort();
        }),
    );
    await Promise.all(halves);
    runs.delete(project);
  }

  async function stopProject(project: ProjectId): Promise<void> {
    const running = runs.get(project);
    running?.controller.abort();
    await running?.ended;
  }

  return {
    store,
    wakeUps,
    replicator,
    gateway,
    startProject(project) {
      if (runs.has(project)) return;
      const controller = new AbortController();
      runs.set(project, { controller, ended: run(project, controller) });
    },
    stopProject,
    projectChanged: (project) => writer?.projectChanged(project),
    async close() {
      housekeeping.abort();
      await Promise.all([gateway.close(), housekept]);
      await writer?.close();
      await Promise.all([...runs.keys()].map(stopProject));
      await store.close();
    },
  };
}

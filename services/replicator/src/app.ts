import { randomBytes } from 'node:crypto';
import { delay, type ProjectId } from '@sluice/domain';
import type { SourceConnection } from '@sluice/source-connection';
import type { Catalog, CompiledRules, SourceTable } from '@sluice/sync-rules';
import { type Logger, systemRandom } from '@sluice/telemetry';
import type { AuditReport } from './audit.ts';
import type { Dependencies } from './dependencies.ts';
import type { DeployProgress } from './deploy-jobs.ts';
import { createReplicatorEvents } from './events.ts';
import { ProjectRunner } from './project-runner.ts';
import { releaseSource } from './release.ts';
import { readCatalog } from './source/catalog.ts';
import { type CheckResult, preflight } from './source/preflight.ts';
import { estimateRows, explainRow, previewStreams } from './source/preview.ts';
import { DEFAULT_TUNING, type Tuning } from './tuning.ts';

export interface ReplicatorOptions
  extends Pick<Dependencies, 'store' | 'queue' | 'wakeUps' | 'clock' | 'sourceOf' | 'heartbeatMs'> {
  readonly logger: Logger;
  /** Shards of a project's first epoch; 1 if left out. */
  readonly shards?: number;
  readonly compileRules?: NonNullable<Dependencies['compileRules']>;
  readonly tuning?: Partial<Tuning>;
  readonly faultPoint?: (name: string) => Promise<void> | undefined;
  /**
   * Names this process among all that may hold leases; a random one if left out. One that stays the same lets a process that
   * was killed take its leases back at once, and is only safe where two of them cannot run at a time.
   */
  readonly holder?: string;
  /** Told whenever a project's lease was taken here, and when it was lost or given back. */
  readonly onLease?: (project: ProjectId, isHeld: boolean) => void;
}

export interface Deployment {
  readonly rules: CompiledRules;
  readonly rulesVersion: number;
}

export interface Replicator {
  /** Checks what replication of the tables needs, all problems at once; changes nothing on the source. */
  preflight(
    connection: SourceConnection,
    rulesTables?: readonly SourceTable[],
    project?: ProjectId,
  ): Promise<CheckResult[]>;
  /** @throws AppError */
  readCatalog(connection: SourceConnection): Promise<Catalog>;
  /** By table, as the source's statistics say. @throws AppError */
  estimateRows: typeof estimateRows;
  /** What a user would get of streams, deployed or not, read from the source. @throws AppError */
  previewStreams: typeof previewStreams;
  /** Why a user would (not) see a row. @throws AppError */
  explainRow: typeof explainRow;
  /**
   * Makes the rules the ones that serve; resolves when they do. May be called again after it failed or the process ended: what
   * was half done is dropped and done anew. Works with or without `run` for the project. Aborted, it rejects and is not begun
   * any more. @throws AppError
   */
  deploy(
    project: ProjectId,
    deployment: Deployment,
    onProgress?: (progress: DeployProgress) => void,
    signal?: AbortSignal,
  ): Promise<void>;
  /**
   * Compares what clients are served with the source, and replaces what differs; resolves to what was found. Costs the source
   * and the store a copy of everything. Waits while the project is not followed. @throws AppError; then nothing changed
   */
  audit(project: ProjectId, signal?: AbortSignal): Promise<AuditReport>;
  /** Holds the source's lease and streams it until aborted; resolves when fully stopped. One call per project at a time. */
  run(project: ProjectId, signal: AbortSignal): Promise<void>;
  /**
   * Divides the project's rows among so many shards, while its stream goes on (L4); resolves when they are. Works for a project
   * that is served, with or without `run`, and waits for deployments. @throws AppError
   */
  reshard(project: ProjectId, shards: number, signal?: AbortSignal): Promise<void>;
  /** Ends every run and fails deployments that are not complete; resolves when nothing works on any source any more. */
  close(): Promise<void>;
  /** Writes a heartbeat into the source now, so that a checkpoint comes; nothing happens when it is not followed here. */
  heartbeat(project: ProjectId): Promise<void>;
  /** Drops slot and publication of a project that is not run any more, here or elsewhere. @throws AppError */
  release(project: ProjectId, signal: AbortSignal): Promise<void>;
}

export function createReplicator(options: ReplicatorOptions): Replicator {
  const { store, queue, wakeUps, clock, sourceOf, heartbeatMs, logger, faultPoint } = options;
  const dependencies: Dependencies = {
    store,
    queue,
    wakeUps,
    clock,
    sourceOf,
    heartbeatMs,
    shards: options.shards ?? 1,
    events: createReplicatorEvents(logger),
    compileRules: options.compileRules,
    leaseChanged: options.onLease ?? (() => {}),
    tuning: { ...DEFAULT_TUNING, ...options.tuning },
    faultPoint: async (name) => faultPoint?.(name),
    random: systemRandom,
    randomHex: (bytes) => randomBytes(bytes).toString('hex'),
  };
  const holder = options.holder ?? `replicator-${dependencies.randomHex(8)}`;
  const shared = new Map<ProjectId, SharedRunner>();

  /** Works on the project's source while `work` lasts, together with whoever else asked for it. */
  async function withRunner<T>(project: ProjectId, work: (runner: SharedRunner) => Promise<T>): Promise<T> {
    const runner = shared.get(project) ?? startRunner(new ProjectRunner(dependencies, project, holder));
    shared.set(project, runner);
    runner.users++;
    try {
      return await work(runner);
    } finally {
      runner.users--;
      if (runner.users === 0) {
        shared.delete(project);
        await runner.stop();
      }
    }
  }

  return {
    preflight,
    readCatalog,
    estimateRows,
    previewStreams,
    explainRow,
    deploy(project, { rules, rulesVersion }, onProgress = () => {}, signal) {
      const wanted = { plans: rules.streams, rulesVersion, onProgress };
      return withRunner(project, ({ jobs }) => jobs.request(wanted, signal));
    },
    audit: (project, signal) => withRunner(project, ({ jobs }) => jobs.requestAudit(signal)),
    run(project, signal) {
      return withRunner(project, async ({ jobs, ended }) => {
        const stop = new AbortController();
        const auditing = auditNowAndThen(dependencies, jobs, AbortSignal.any([signal, stop.signal]));
        await Promise.race([ended, aborted(signal)]);
        stop.abort();
        await auditing;
      });
    },
    reshard: (project, shards, signal) => withRunner(project, ({ jobs }) => jobs.reshard(shards, signal)),
    async close() {
      await Promise.all([...shared.values()].map((runner) => runner.stop()));
    },
    async heartbeat(project) {
      await shared.get(project)?.heartbeat();
    },
    release: (project, signal) => releaseSource(dependencies, project, holder, signal),
  };
}

/** A project's runner while somebody needs it: a second run beside it would take the lease from the first. */
interface SharedRunner {
  readonly jobs: ProjectRunner['jobs'];
  readonly ended: Promise<void>;
  users: number;
  stop(): Promise<void>;
  heartbeat(): Promise<void>;
}

function startRunner(runner: ProjectRunner): SharedRunner {
  const controller = new AbortController();
  const ended = runner.run(controller.signal);
  return {
    jobs: runner.jobs,
    ended,
    users: 0,
    async stop() {
      controller.abort();
      await ended;
      runner.jobs.close();
    },
    heartbeat: () => runner.heartbeat(),
  };
}

/** A comparison that fails is logged where it failed, and comes again in its time. */
async function auditNowAndThen(
  { clock, tuning: { auditEveryMs } }: Dependencies,
  jobs: ProjectRunner['jobs'],
  signal: AbortSignal,
): Promise<void> {
  while (auditEveryMs > 0 && !signal.aborted) {
    await delay(clock, auditEveryMs, signal);
    if (!signal.aborted) await jobs.requestAudit(signal).catch(() => {});
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

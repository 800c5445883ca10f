import { randomBytes } from 'node:crypto';
import { createPostgresBucketStore, migrateBucketStore } from '@sluice/bucket-store';
import { type Clock, parseProjectId } from '@sluice/domain';
import { createRedisMembership, Keeper } from '@sluice/membership';
import { createRedisOpQueue, createRedisWakeUps } from '@sluice/op-queue';
import { compileDeployed, connectDirectory, reportSources, sourceOf } from '@sluice/project-directory';
import { takeSteps } from '@sluice/source-steps';
import {
  createLogger,
  createMetrics,
  type Logger,
  runUntilSignal,
  startHealthServer,
  systemClock,
} from '@sluice/telemetry';
import { createReplicator } from './app.ts';
import { type ReplicatorConfig, readConfig } from './config.ts';
import { keeperEvents } from './keeper-events.ts';
import { stepHands } from './step-hands.ts';

/** Shorter than any lease: others get ready for what a dead process held before they may have it. */
const MEMBER_TTL_MS = 3_000;
/** The workers are other processes, which go on: what was read is stored while the streams are handed over. */
const DRAIN_MS = 3_000;
const HOUR_MS = 3_600_000;
const CONTROL_CONNECTIONS_MAX = 5;
/** The store answers a question about any project, or it is out of reach. */
const ANY_PROJECT = parseProjectId(1);

/** The replicator as a process of its own: holds its share of all sources, and does the control plane's steps on them. */
const config = readConfig();
const clock = systemClock;
const logger = createLogger({ service: 'replicator', level: config.LOG_LEVEL, clock });
await runUntilSignal((signal) => runProcess(config, { clock, logger }, signal), { logger, clock });

async function runProcess(
  settings: ReplicatorConfig,
  by: { readonly clock: Clock; readonly logger: Logger },
  signal: AbortSignal,
): Promise<void> {
  const id = `replicator-${randomBytes(8).toString('hex')}`;
  const redisUrl = settings.REDIS_URL.reveal();
  const events = keeperEvents(by.logger, by.clock);
  const metrics = createMetrics({ service: 'replicator', processMetrics: true });
  const storeUrl = settings.BUCKET_STORE_URL.reveal();
  await migrateBucketStore(storeUrl);
  const store = createPostgresBucketStore({ url: storeUrl, poolMax: settings.BUCKET_STORE_CONNECTIONS_MAX });
  const onTrouble = events.redisTrouble;
  const queue = await createRedisOpQueue({
    url: redisUrl,
    bytesMaxPerShard: settings.QUEUE_BYTES_MAX,
    clock: by.clock,
    onTrouble,
  });
  const wakeUps = await createRedisWakeUps({ url: redisUrl, clock: by.clock, onTrouble });
  const control = await connectDirectory({
    databaseUrl: settings.CONTROL_DATABASE_URL.reveal(),
    keyFile: settings.CONTROL_KEY_FILE,
    connectionsMax: CONTROL_CONNECTIONS_MAX,
    clock: by.clock,
    onWatchLost: events.projectWatchLost,
  });
  const { directory } = control;

  const onHeldByItem = new Map<string, (isHeld: boolean) => void>();
  const replicator = createReplicator({
    store,
    queue,
    wakeUps,
    ...by,
    sourceOf: (project) => sourceOf(directory, project),
    compileRules: async (project, catalog) => compileDeployed((await directory.activeRulesOf(project))?.yaml, catalog),
    heartbeatMs: settings.SLUICE_HEARTBEAT_MS,
    shards: settings.SLUICE_SHARDS,
    tuning: {
      leaseTtlMs: settings.SLUICE_LEASE_TTL_MS,
      drainMs: DRAIN_MS,
      auditEveryMs: settings.SLUICE_AUDIT_EVERY_HOURS * HOUR_MS,
      copySessions: settings.SLUICE_COPY_SESSIONS,
      copyBytesPerSecondMax: settings.SLUICE_COPY_BYTES_PER_SECOND_MAX,
      copyLagBytesMax: settings.SLUICE_COPY_LAG_BYTES_MAX,
      failoverSlots: settings.SLUICE_FAILOVER_SLOTS,
    },
    holder: id,
    onLease: (project, isHeld) => onHeldByItem.get(String(project))?.(isHeld),
  });
  const keeper = new Keeper({
    membership: createRedisMembership({
      url: redisUrl,
      group: 'replicator',
      id,
      ttlMs: MEMBER_TTL_MS,
      clock: by.clock,
      onError: events.redisTrouble,
    }),
    clock: by.clock,
    items: async () => (await control.projectsToHold()).map(String),
    async run(item, onHeld, stop) {
      onHeldByItem.set(item, onHeld);
      await replicator.run(parseProjectId(Number(item)), stop);
      onHeldByItem.delete(item);
    },
    events,
  });
  const unsubscribe = directory.onProjectChanged(() => keeper.look());
  const steps = takeSteps({
    redisUrl,
    hands: stepHands({ replicator, keeper, directory, store }),
    clock: by.clock,
    onError: events.redisTrouble,
  });
  const reporting = reportSources(
    {
      directory,
      store,
      clock: by.clock,
      isOurs: (project) => keeper.held.includes(String(project)),
      onError: events.sourcesNotReported,
    },
    signal,
  );
  const health = await startHealthServer({
    port: settings.SLUICE_REPLICATOR_HEALTH_PORT,
    metrics,
    checks: {
      process: () => (signal.aborted ? 'draining' : undefined),
      members: () => keeper.notReady,
      store: async () => void (await store.readSource(ANY_PROJECT)),
      database: () => control.notReady(),
    },
  });
  by.logger.info('replicator is running', { workerId: id, port: health.port });

  const keeping = keeper.run(signal);
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  // Steps go back to the queue first: what they need is given up next.
  await steps.close();
  await keeping;
  unsubscribe();
  await replicator.close();
  await reporting;
  await queue.close();
  await wakeUps.close();
  await control.close();
  await store.close();
  await health[Symbol.asyncDispose]();
}

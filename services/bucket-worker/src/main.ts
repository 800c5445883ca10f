import { randomBytes } from 'node:crypto';
import { createPostgresBucketStore, migrateBucketStore } from '@sluice/bucket-store';
import { type Clock, parseProjectId } from '@sluice/domain';
import { createRedisMembership, Keeper } from '@sluice/membership';
import { createRedisOpQueue, createRedisWakeUps } from '@sluice/op-queue';
import { connectListing } from '@sluice/project-directory';
import {
  createLogger,
  createMetrics,
  type Logger,
  runUntilSignal,
  startHealthServer,
  systemClock,
} from '@sluice/telemetry';
import { createBucketWorker } from './app.ts';
import { type BucketWorkerConfig, readConfig } from './config.ts';
import { createHousekeeper } from './housekeeper.ts';
import { keeperEvents } from './keeper-events.ts';
import { formatShardItem, parseShardItem, shardItems } from './shard-items.ts';

/** Shorter than any lease: others get ready for what a dead process held before they may have it. */
const MEMBER_TTL_MS = 3_000;
/** How soon a shard that was added is taken, at the latest. */
const SHARDS_EVERY_MS = 2_000;
const CONTROL_CONNECTIONS_MAX = 3;
const DAY_MS = 86_400_000;
/** The store answers a question about any project, or it is out of reach. */
const ANY_PROJECT = parseProjectId(1);

/** The bucket worker as a process of its own: holds its share of all shards. */
const config = readConfig();
const clock = systemClock;
const logger = createLogger({ service: 'bucket-worker', level: config.LOG_LEVEL, clock });
await runUntilSignal((signal) => runProcess(config, { clock, logger }, signal), { logger, clock });

async function runProcess(
  settings: BucketWorkerConfig,
  by: { readonly clock: Clock; readonly logger: Logger },
  signal: AbortSignal,
): Promise<void> {
  const id = `bucket-worker-${randomBytes(8).toString('hex')}`;
  const redisUrl = settings.REDIS_URL.reveal();
  const events = keeperEvents(by.logger, by.clock);
  const metrics = createMetrics({ service: 'bucket-worker', processMetrics: true });
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
  const control = connectListing({
    databaseUrl: settings.CONTROL_DATABASE_URL.reveal(),
    connectionsMax: CONTROL_CONNECTIONS_MAX,
    clock: by.clock,
    onWatchLost: events.projectWatchLost,
  });
  const onHeldByItem = new Map<string, (isHeld: boolean) => void>();
  const worker = createBucketWorker({
    store,
    queue,
    wakeUps,
    ...by,
    metrics,
    holder: id,
    leaseTtlMs: settings.SLUICE_LEASE_TTL_MS,
    onLease: (project, shard, isHeld) => onHeldByItem.get(formatShardItem(project, shard))?.(isHeld),
  });
  const keeper = new Keeper({
    membership: createRedisMembership({
      url: redisUrl,
      group: 'bucket-worker',
      id,
      ttlMs: MEMBER_TTL_MS,
      clock: by.clock,
      onError: events.redisTrouble,
    }),
    clock: by.clock,
    items: async () => shardItems(store, await control.projectsToHold()),
    async run(item, onHeld, stop) {
      const { project, shard } = parseShardItem(item);
      onHeldByItem.set(item, onHeld);
      await worker.run(project, shard, stop);
    },
    events,
    timings: { itemsEveryMs: SHARDS_EVERY_MS },
  });
  const unsubscribe = control.onProjectChanged(() => keeper.look());
  const health = await startHealthServer({
    port: settings.SLUICE_BUCKET_WORKER_HEALTH_PORT,
    metrics,
    checks: {
      process: () => (signal.aborted ? 'draining' : undefined),
      members: () => keeper.notReady,
      store: async () => void (await store.readSource(ANY_PROJECT)),
      database: () => control.notReady(),
    },
  });
  by.logger.info('bucket worker is running', { workerId: id, port: health.port });

  const housekeeper = createHousekeeper({
    ...{ store, ...by, metrics },
    // Of all processes, the one that holds a project's compaction lease works on it.
    projects: () => control.projectsToHold(),
    settings: { retentionMs: settings.SLUICE_RETENTION_DAYS * DAY_MS },
  });
  // Aborted, it applies what is under way, gives the leases back, and then resolves.
  await Promise.all([keeper.run(signal), housekeeper.run(signal)]);
  unsubscribe();
  await queue.close();
  await wakeUps.close();
  await control.close();
  await store.close();
  await health[Symbol.asyncDispose]();
}

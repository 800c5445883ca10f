import { type ConfigOf, defineConfig } from '@sluice/config';

export const configDefinition = defineConfig({
  CONTROL_DATABASE_URL: {
    type: 'url',
    schemes: ['postgres', 'postgresql'],
    secret: true,
    meaning: 'The control database: which projects there are. No secret of theirs is read.',
  },
  BUCKET_STORE_URL: { type: 'url', schemes: ['postgres', 'postgresql'], secret: true, meaning: 'The bucket store.' },
  BUCKET_STORE_CONNECTIONS_MAX: {
    type: 'integer',
    default: 12,
    min: 1,
    max: 100,
    unit: 'connections',
    meaning: 'Connections to the bucket store.',
  },
  REDIS_URL: {
    type: 'url',
    schemes: ['redis', 'rediss'],
    secret: true,
    meaning: 'Redis: frames from the replicators, who else is alive.',
  },
  QUEUE_BYTES_MAX: {
    type: 'integer',
    default: 64 * 1024 * 1024,
    min: 1024 * 1024,
    max: 4 * 1024 * 1024 * 1024,
    unit: 'bytes',
    meaning: 'Frames of one shard that may wait in Redis; the same as the replicators have.',
  },
  SLUICE_LEASE_TTL_MS: {
    type: 'integer',
    default: 5_000,
    min: 1_000,
    max: 60_000,
    unit: 'ms',
    meaning: 'After so long without a sign of life others take over what this process holds.',
  },
  SLUICE_RETENTION_DAYS: {
    type: 'number',
    default: 30,
    min: 0.01,
    max: 3650,
    unit: 'days',
    meaning:
      'A client that was away for less than this resumes, one that was away longer loads anew; what was changed or deleted leaves the bucket store after it.',
  },
  SLUICE_BUCKET_WORKER_HEALTH_PORT: {
    type: 'integer',
    default: 4841,
    min: 0,
    max: 65_535,
    meaning: 'Port of health checks and metrics on 127.0.0.1; 0 takes a free one.',
  },
  LOG_LEVEL: {
    type: 'choice',
    choices: ['debug', 'info', 'warn', 'error'],
    default: 'info',
    meaning: 'The least severe records that are written.',
  },
});
export type BucketWorkerConfig = ConfigOf<typeof configDefinition>;

/** The only reader of this service's environment. */
export function readConfig(): BucketWorkerConfig {
  return configDefinition.read(process.env);
}

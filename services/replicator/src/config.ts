import { type ConfigOf, defineConfig } from '@sluice/config';
import { DEFAULT_TUNING } from './tuning.ts';

export const configDefinition = defineConfig({
  CONTROL_DATABASE_URL: {
    type: 'url',
    schemes: ['postgres', 'postgresql'],
    secret: true,
    meaning: 'The control database: which projects there are, their sources and rules.',
  },
  CONTROL_KEY_FILE: {
    type: 'string',
    meaning: "The control plane's file of key-encryption keys, for the passwords of sources.",
  },
  BUCKET_STORE_URL: { type: 'url', schemes: ['postgres', 'postgresql'], secret: true, meaning: 'The bucket store.' },
  BUCKET_STORE_CONNECTIONS_MAX: {
    type: 'integer',
    default: 8,
    min: 1,
    max: 100,
    unit: 'connections',
    meaning: 'Connections to the bucket store.',
  },
  REDIS_URL: {
    type: 'url',
    schemes: ['redis', 'rediss'],
    secret: true,
    meaning: 'Redis: frames to the bucket workers, steps that the control plane asks for, who else is alive.',
  },
  QUEUE_BYTES_MAX: {
    type: 'integer',
    default: 64 * 1024 * 1024,
    min: 1024 * 1024,
    max: 4 * 1024 * 1024 * 1024,
    unit: 'bytes',
    meaning: "Frames of one shard that may wait in Redis; then the source's socket is paused.",
  },
  SLUICE_LEASE_TTL_MS: {
    type: 'integer',
    default: 5_000,
    min: 1_000,
    max: 60_000,
    unit: 'ms',
    meaning: 'After so long without a sign of life others take over what this process holds.',
  },
  SLUICE_HEARTBEAT_MS: {
    type: 'integer',
    default: 10_000,
    min: 500,
    max: 600_000,
    unit: 'ms',
    meaning: 'An idle source is written a heartbeat this often, so that its WAL does not pile up.',
  },
  SLUICE_SHARDS: {
    type: 'integer',
    default: 1,
    min: 1,
    max: 64,
    unit: 'shards',
    meaning: 'Shards among which the rows of a project are divided that is deployed for the first time.',
  },
  SLUICE_AUDIT_EVERY_HOURS: {
    type: 'number',
    default: 0,
    min: 0,
    max: 8760,
    unit: 'hours',
    meaning:
      "How often each project's buckets are compared with its source, which costs a copy of it; 0: only when asked.",
  },
  SLUICE_COPY_SESSIONS: {
    type: 'integer',
    default: DEFAULT_TUNING.copySessions,
    min: 1,
    max: 16,
    unit: 'sessions',
    meaning: 'Sessions on a source that a copy reads with, side by side.',
  },
  SLUICE_COPY_BYTES_PER_SECOND_MAX: {
    type: 'integer',
    default: DEFAULT_TUNING.copyBytesPerSecondMax,
    min: 1024,
    max: 2 ** 40,
    unit: 'bytes/s',
    meaning: 'A copy reads no more than this from its source.',
  },
  SLUICE_COPY_LAG_BYTES_MAX: {
    type: 'integer',
    default: DEFAULT_TUNING.copyLagBytesMax,
    min: 1024 * 1024,
    max: 2 ** 40,
    unit: 'bytes',
    meaning: 'A copy stands still while the stream is further behind its source than this.',
  },
  SLUICE_FAILOVER_SLOTS: {
    type: 'boolean',
    default: DEFAULT_TUNING.failoverSlots,
    meaning: 'Slots are made so that a standby can keep them in step (Postgres 17 and later).',
  },
  SLUICE_REPLICATOR_HEALTH_PORT: {
    type: 'integer',
    default: 4831,
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
export type ReplicatorConfig = ConfigOf<typeof configDefinition>;

/** The only reader of this service's environment. */
export function readConfig(): ReplicatorConfig {
  return configDefinition.read(process.env);
}

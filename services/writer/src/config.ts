import { type ConfigOf, defineConfig } from '@sluice/config';
import { defaultPoolLimits } from './source/source-pools.ts';

export const configDefinition = defineConfig({
  CONTROL_DATABASE_URL: {
    type: 'url',
    schemes: ['postgres', 'postgresql'],
    secret: true,
    meaning: 'The control database: sources, and the rules in force.',
  },
  CONTROL_KEY_FILE: {
    type: 'string',
    meaning: "The control plane's file of key-encryption keys, for the passwords of sources.",
  },
  REDIS_URL: {
    type: 'url',
    schemes: ['redis', 'rediss'],
    secret: true,
    meaning: 'Redis, over which the gateways hand uploads over.',
  },
  SLUICE_WRITER_PROJECT_CONNECTIONS_MAX: {
    type: 'integer',
    default: defaultPoolLimits.connectionsMax,
    min: 1,
    max: 50,
    unit: 'connections',
    meaning: 'Connections to one source.',
  },
  SLUICE_WRITER_STATEMENT_TIMEOUT_MS: {
    type: 'integer',
    default: defaultPoolLimits.statementTimeoutMs,
    min: 100,
    max: 20_000,
    unit: 'ms',
    meaning: 'The longest that one statement of an upload may take at the source.',
  },
  SLUICE_WRITER_HEALTH_PORT: {
    type: 'integer',
    default: 4851,
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
export type WriterConfig = ConfigOf<typeof configDefinition>;

/** The only reader of this service's environment. */
export function readConfig(): WriterConfig {
  return configDefinition.read(process.env);
}

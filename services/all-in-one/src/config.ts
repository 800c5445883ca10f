import { type ConfigOf, defineConfig } from '@sluice/config';

export const configDefinition = defineConfig({
  SLUICE_HOME: { type: 'string', default: '.sluice', meaning: 'Folder of the embedded servers and local secrets.' },
  SLUICE_DEMO_PORT: {
    type: 'integer',
    default: 4800,
    min: 1,
    max: 65000,
    meaning: 'Port of the departure board; the next free one is taken.',
  },
  SLUICE_GATEWAY_PORT: {
    type: 'integer',
    default: 4810,
    min: 1,
    max: 65000,
    meaning: 'Port of the sync gateway; the next free one is taken.',
  },
  SLUICE_CONTROL_PLANE_PORT: {
    type: 'integer',
    default: 4820,
    min: 1,
    max: 65000,
    meaning: 'Port of the control plane; the next free one is taken.',
  },
  SLUICE_DEMO_TRAFFIC: {
    type: 'boolean',
    default: true,
    meaning: 'Whether the traffic simulator runs from the start.',
  },
  SLUICE_DEMO_CHANGES_PER_SECOND: {
    type: 'number',
    default: 2,
    min: 0.1,
    max: 200,
    unit: 'changes/s',
    meaning: 'Pace of the traffic simulator.',
  },
  REDIS_URL: {
    type: 'url',
    schemes: ['redis', 'rediss'],
    secret: true,
    optional: true,
    meaning: 'Redis that carries changes and jobs between the services; without it one of our own is started.',
  },
  SLUICE_REDIS_SERVER: {
    type: 'string',
    optional: true,
    meaning:
      'Path of redis-server, started when there is no REDIS_URL; `npm start` finds it. Without either, the queues live within the process.',
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
  SLUICE_LOG_LEVEL: {
    type: 'choice',
    choices: ['debug', 'info', 'warn', 'error'],
    default: 'warn',
    meaning: 'Least severe level that is logged.',
  },
});
export type AllInOneConfig = ConfigOf<typeof configDefinition>;

/** The only reader of this service's environment. */
export function readConfig(): AllInOneConfig {
  return configDefinition.read(process.env);
}

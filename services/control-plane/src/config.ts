import { type ConfigOf, defineConfig } from '@sluice/config';

export const configDefinition = defineConfig({
  CONTROL_PLANE_TOKEN: {
    type: 'string',
    secret: true,
    meaning: 'The operator API token that every request must carry; 32 random characters or more.',
  },
  CONTROL_PLANE_PORT: {
    type: 'integer',
    min: 0,
    max: 65535,
    default: 4820,
    meaning: 'Port of the API on 127.0.0.1; 0 takes a free one.',
  },
  CONTROL_DATABASE_URL: {
    type: 'url',
    schemes: ['postgres', 'postgresql'],
    secret: true,
    meaning: 'The control database.',
  },
  CONTROL_KEY_FILE: {
    type: 'string',
    meaning: 'File with the key-encryption keys of stored secrets, readable by its owner only; created when missing.',
  },
  REDIS_URL: {
    type: 'url',
    schemes: ['redis', 'rediss'],
    secret: true,
    optional: true,
    meaning:
      'Redis for the job queue and for steps that replicators do; without it the queue lives in the control database, and no replicator is joined.',
  },
  SOURCE_HOSTS: {
    type: 'choice',
    choices: ['hosted', 'local'],
    default: 'hosted',
    meaning: 'hosted: sources and JWKS are public hosts over verified TLS; local: anything, for a developer machine.',
  },
  LOG_LEVEL: {
    type: 'choice',
    choices: ['debug', 'info', 'warn', 'error'],
    default: 'info',
    meaning: 'The least severe records that are written.',
  },
});

type Settings = ConfigOf<typeof configDefinition>;
/** What `createControlPlane` is handed; the level of logging is its caller's business. */
export type ControlPlaneConfig = Omit<Settings, 'LOG_LEVEL'>;

/** The only reader of this service's environment. */
export function readConfig(): Settings {
  return configDefinition.read(process.env);
}

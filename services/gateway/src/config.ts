import { type ConfigOf, defineConfig } from '@sluice/config';
import { LIMITS } from '@sluice/protocol';
import type { SessionLimits } from './session/state.ts';

/** Everything that bounds or tunes a gateway; handed in, so that tests and the embedded stack choose their own. */
export interface GatewayConfig {
  readonly host: string;
  /** 0 chooses a free one. */
  readonly port: number;
  /** Origins of web pages that may connect: `*` allows all, `loopback` those that this machine serves itself. */
  readonly allowedOrigins: readonly string[];
  readonly connectionsMax: number;
  readonly connectionsPerUserMax: number;
  readonly connectionsPerAddressMax: number;
  /** Connections that have not been welcomed yet. */
  readonly handshakesMax: number;
  readonly failedTokensPerMinuteMax: number;
  /** Proxies of ours in front, each of which appends to `X-Forwarded-For`; 0 when clients connect directly. */
  readonly trustedProxies: number;
  /** Bytes of encoded pages, and as many of whole buckets, that are kept for the next who needs them. */
  readonly cacheBytes: number;
  /** Bytes in send buffers: of one session, of one project's sessions together, of all. */
  readonly sendBufferPauseBytes: number;
  readonly sendBytesPerProjectMax: number;
  readonly sendBytesMax: number;
  /** A client that takes not one byte for so long while some wait is sent away. */
  readonly sendStalledMs: number;
  /** Reads of the store at the same time; a few fewer of one project. */
  readonly storeReadsMax: number;
  readonly pollMs: number;
  /** How far the clock of whoever signs tokens may be off, seconds. */
  readonly tokenToleranceS: number;
  /** Lets key sets be fetched over http and from addresses that are not public. */
  readonly allowPrivateKeySets: boolean;
  /** Over how long a closing gateway sends its clients away, so that they do not come back all at once. */
  readonly drainMs: number;
  readonly session: SessionLimits;
}

export const defaultSessionLimits: SessionLimits = {
  helloWithinMs: LIMITS.authenticateWithinMs,
  verifyWithinMs: 10_000,
  pingIntervalMs: 20_000,
  silentMs: 45_000,
  tokenWarningMs: 60_000,
  revalidateMs: 4 * 60_000,
  idleCheckpointMs: 30_000,
  unappliedMax: 64,
  unappliedBytesMax: 16 * 1024 * 1024,
  unappliedMs: 10 * 60_000,
  messagesBurst: 200,
  messagesPerS: 50,
};

export const defaultGatewayConfig: GatewayConfig = {
  host: '127.0.0.1',
  port: 0,
  allowedOrigins: ['loopback'],
  connectionsMax: 15_000,
  connectionsPerUserMax: 200,
  connectionsPerAddressMax: 5_000,
  handshakesMax: 1_000,
  failedTokensPerMinuteMax: 60,
  trustedProxies: 0,
  cacheBytes: 64 * 1024 * 1024,
  sendBufferPauseBytes: 1024 * 1024,
  sendBytesPerProjectMax: 64 * 1024 * 1024,
  sendBytesMax: 128 * 1024 * 1024,
  sendStalledMs: 30_000,
  storeReadsMax: 8,
  pollMs: 2_000,
  tokenToleranceS: 30,
  allowPrivateKeySets: false,
  drainMs: 5_000,
  session: defaultSessionLimits,
};

export const configDefinition = defineConfig({
  SLUICE_GATEWAY_HOST: { type: 'string', default: '127.0.0.1', meaning: 'Address that clients connect to.' },
  SLUICE_GATEWAY_PORT: {
    type: 'integer',
    default: 4810,
    min: 0,
    max: 65_535,
    meaning: 'Port that clients connect to; 0 takes a free one.',
  },
  SLUICE_GATEWAY_HEALTH_PORT: {
    type: 'integer',
    default: 4811,
    min: 0,
    max: 65_535,
    meaning: 'Port of health checks and metrics on 127.0.0.1; 0 takes a free one.',
  },
  SLUICE_GATEWAY_ORIGINS: {
    type: 'list',
    default: defaultGatewayConfig.allowedOrigins,
    meaning: 'Origins of pages that may connect, as https://app.example; loopback: pages of this machine; *: all.',
  },
  SLUICE_GATEWAY_CONNECTIONS_MAX: {
    type: 'integer',
    default: defaultGatewayConfig.connectionsMax,
    min: 1,
    max: 100_000,
    unit: 'connections',
    meaning: 'Open connections that this process takes.',
  },
  SLUICE_GATEWAY_ADDRESS_CONNECTIONS_MAX: {
    type: 'integer',
    default: defaultGatewayConfig.connectionsPerAddressMax,
    min: 1,
    max: 100_000,
    unit: 'connections',
    meaning: 'Open connections of one IPv4 address or IPv6 /64.',
  },
  SLUICE_GATEWAY_FAILED_TOKENS_MAX: {
    type: 'integer',
    default: defaultGatewayConfig.failedTokensPerMinuteMax,
    min: 1,
    max: 100_000,
    unit: 'tokens a minute',
    meaning: 'Tokens of one address that may be refused; then it is not let in until the minute is over.',
  },
  SLUICE_GATEWAY_TRUSTED_PROXIES: {
    type: 'integer',
    default: 0,
    min: 0,
    max: 10,
    unit: 'proxies',
    meaning:
      'Proxies in front of the gateway that append to X-Forwarded-For; without them the header counts for nothing.',
  },
  SLUICE_GATEWAY_SEND_BYTES_MAX: {
    type: 'integer',
    default: defaultGatewayConfig.sendBytesMax,
    min: 4 * 1024 * 1024,
    max: 16 * 1024 * 1024 * 1024,
    unit: 'bytes',
    meaning: 'Memory for what clients have not taken yet; one project gets at most half of it.',
  },
  SLUICE_GATEWAY_CACHE_BYTES: {
    type: 'integer',
    default: defaultGatewayConfig.cacheBytes,
    min: 1024 * 1024,
    max: 16 * 1024 * 1024 * 1024,
    unit: 'bytes',
    meaning:
      'Memory for encoded pages of buckets, as much again for whole buckets, and a quarter for whole checkpoints.',
  },
  SLUICE_GATEWAY_DRAIN_MS: {
    type: 'integer',
    default: defaultGatewayConfig.drainMs,
    min: 0,
    max: 20_000,
    unit: 'ms',
    meaning: 'How long a stopping gateway takes to send its clients away.',
  },
  SLUICE_GATEWAY_PRIVATE_KEY_SETS: {
    type: 'boolean',
    default: false,
    meaning: 'Lets key sets be fetched over http and from private addresses; never on a hosted gateway.',
  },
  SLUICE_GATEWAY_PROJECTS_FILE: {
    type: 'string',
    optional: true,
    meaning:
      'JSON file, readable by its owner only, of the projects that this gateway serves and how their tokens are verified; instead of a control database.',
  },
  CONTROL_DATABASE_URL: {
    type: 'url',
    schemes: ['postgres', 'postgresql'],
    secret: true,
    optional: true,
    meaning: 'The control database: which projects there are and how their tokens are verified.',
  },
  CONTROL_KEY_FILE: {
    type: 'string',
    optional: true,
    meaning: "The control plane's file of key-encryption keys, for the shared secrets of tokens.",
  },
  REDIS_URL: {
    type: 'url',
    schemes: ['redis', 'rediss'],
    secret: true,
    optional: true,
    meaning:
      'Redis, which tells of new checkpoints and leads to the writers; without it the store is asked every 100 ms, and clients write nothing.',
  },
  BUCKET_STORE_URL: {
    type: 'url',
    schemes: ['postgres', 'postgresql'],
    secret: true,
    meaning: 'The bucket store.',
  },
  BUCKET_STORE_CONNECTIONS_MAX: {
    type: 'integer',
    default: 8,
    min: 1,
    max: 100,
    unit: 'connections',
    meaning: 'Connections to the bucket store.',
  },
  LOG_LEVEL: {
    type: 'choice',
    choices: ['debug', 'info', 'warn', 'error'],
    default: 'info',
    meaning: 'The least severe records that are written.',
  },
});

export type GatewaySettings = ConfigOf<typeof configDefinition>;

/** The only reader of this service's environment. */
export function readConfig(): GatewaySettings {
  return configDefinition.read(process.env);
}

export function gatewayConfigFrom(settings: GatewaySettings): GatewayConfig {
  return {
    ...defaultGatewayConfig,
    host: settings.SLUICE_GATEWAY_HOST,
    port: settings.SLUICE_GATEWAY_PORT,
    allowedOrigins: settings.SLUICE_GATEWAY_ORIGINS,
    connectionsMax: settings.SLUICE_GATEWAY_CONNECTIONS_MAX,
    connectionsPerAddressMax: settings.SLUICE_GATEWAY_ADDRESS_CONNECTIONS_MAX,
    failedTokensPerMinuteMax: settings.SLUICE_GATEWAY_FAILED_TOKENS_MAX,
    trustedProxies: settings.SLUICE_GATEWAY_TRUSTED_PROXIES,
    sendBytesMax: settings.SLUICE_GATEWAY_SEND_BYTES_MAX,
    sendBytesPerProjectMax: settings.SLUICE_GATEWAY_SEND_BYTES_MAX / 2,
    cacheBytes: settings.SLUICE_GATEWAY_CACHE_BYTES,
    drainMs: settings.SLUICE_GATEWAY_DRAIN_MS,
    allowPrivateKeySets: settings.SLUICE_GATEWAY_PRIVATE_KEY_SETS,
  };
}

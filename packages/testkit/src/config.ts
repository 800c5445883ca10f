import { createHash } from 'node:crypto';

/** What tests may be told from outside; the only reader of the environment here. */
export interface TestConfig {
  /** SLUICE_SEED: replays a randomised test. */
  readonly seed: number | undefined;
  /** SLUICE_LANE: `long` runs the lengthened versions of randomised and fault tests. */
  readonly lane: 'short' | 'long';
  /** SLUICE_TEST_POSTGRES_URL: superuser of the shared throw-away cluster; set by the global setup, or by you for a server of yours. */
  readonly postgresUrl: string | undefined;
  /** SLUICE_POSTGRES_FOLDER: where setup-tools puts servers of other majors; vitest's config names it. */
  readonly postgresFolder: string | undefined;
  /** SLUICE_REDIS_SERVER: the program; vitest's config finds it. */
  readonly redisServer: string | undefined;
  /** SLUICE_CHROMIUM and SLUICE_CHROMIUM_ARGUMENTS: the browser; vitest's config finds it. */
  readonly chromium: { readonly path: string; readonly args: readonly string[] } | undefined;
}

export function testConfig(env: NodeJS.ProcessEnv = process.env): TestConfig {
  return {
    seed: env.SLUICE_SEED ? parseSeed(env.SLUICE_SEED) : undefined,
    lane: env.SLUICE_LANE === 'long' ? 'long' : 'short',
    postgresUrl: env[postgresUrlKey] || undefined,
    postgresFolder: env.SLUICE_POSTGRES_FOLDER || undefined,
    redisServer: env.SLUICE_REDIS_SERVER || undefined,
    chromium: env.SLUICE_CHROMIUM
      ? { path: env.SLUICE_CHROMIUM, args: (env.SLUICE_CHROMIUM_ARGUMENTS ?? '').split(' ').filter(Boolean) }
      : undefined,
  };
}

export const postgresUrlKey = 'SLUICE_TEST_POSTGRES_URL';

/** A number is taken as it is (mod 2^32); any other text stands for a number of its own. */
function parseSeed(text: string): number {
  if (/^[0-9]{1,15}$/.test(text)) return Number(text) >>> 0;
  return createHash('sha256').update(text).digest().readUInt32LE(0);
}

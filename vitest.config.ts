import { playwright } from '@vitest/browser-playwright';
import { defineConfig } from 'vitest/config';
import { postgresFolder } from './scripts/postgres-versions.mjs';
import { chromiumArguments, chromiumPath, toolPath } from './scripts/tools.mjs';

const long = '**/*.long.test.ts';
const never = [
  '**/node_modules/**',
  '**/dist/**',
  '**/.next/**',
  ...(process.env.SLUICE_LANE === 'long' ? [] : [long]),
];
/** Tests that need servers: Postgres, and where the name says so Redis. */
const pg = '**/*.{pg,redis}.test.ts';
const browser = '**/*.browser.test.{ts,tsx}';
/** Tests of a source or a whole stack within one process: they mostly wait. */
const stack =
  'e2e/src/{anti-entropy,compaction,convergence,faults,random,replica-identity,replication,shards,snapshot,source,types,uploads}/**/*.test.ts';
const postgresSetup = ['packages/testkit/src/global-setup.ts'];
const executablePath = chromiumPath();

export default defineConfig({
  // Node 20 has no `await using`: tests are lowered as the compiler lowers the build. Decorators are Nest's.
  oxc: { target: 'node20', decorator: { legacy: true, emitDecoratorMetadata: true } },
  test: {
    // Two processes keep two cores busy; more would make time limits a matter of luck. Projects run one after another.
    maxWorkers: 2,
    env: {
      SLUICE_POSTGRES_FOLDER: postgresFolder,
      SLUICE_REDIS_SERVER: toolPath('redis-server') ?? '',
      SLUICE_CHROMIUM: executablePath ?? '',
      SLUICE_CHROMIUM_ARGUMENTS: chromiumArguments().join(' '),
    },
    projects: [
      {
        extends: true,
        test: {
          name: 'pure',
          include: ['**/*.test.{ts,tsx}'],
          exclude: [...never, pg, browser, 'e2e/**'],
          // Random histories take seconds on a machine that others keep busy.
          testTimeout: 60_000,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: 'pg',
          include: [pg],
          exclude: [...never, 'e2e/**'],
          globalSetup: postgresSetup,
          testTimeout: 60_000,
          hookTimeout: 60_000,
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        // The package finds its .wasm file beside its module, which Vite's pre-bundling would tear apart.
        optimizeDeps: { exclude: ['@sqlite.org/sqlite-wasm'] },
        test: {
          name: 'browser',
          include: [browser],
          exclude: [...never, 'e2e/**'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
          // Beside the stacks: both mostly wait. Its files one after another.
          sequence: { groupOrder: 3 },
          browser: {
            enabled: true,
            headless: true,
            fileParallelism: false,
            screenshotFailures: false,
            provider: playwright({
              launchOptions: { args: chromiumArguments(), ...(executablePath ? { executablePath } : {}) },
            }),
            instances: [{ browser: 'chromium' }],
          },
        },
      },
      {
        extends: true,
        test: {
          name: 'stack',
          include: [stack],
          exclude: never,
          globalSetup: postgresSetup,
          testTimeout: 120_000,
          hookTimeout: 120_000,
          sequence: { groupOrder: 3 },
        },
      },
      {
        extends: true,
        test: {
          name: 'e2e',
          include: ['e2e/**/*.test.ts'],
          exclude: [...never, stack],
          globalSetup: postgresSetup,
          // Many processes, a browser or many clients: two at once would measure each other.
          fileParallelism: false,
          testTimeout: 120_000,
          hookTimeout: 120_000,
          sequence: { groupOrder: 4 },
        },
      },
    ],
  },
});

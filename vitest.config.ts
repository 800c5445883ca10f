import { defineConfig } from 'vitest/config';

const never = ['**/node_modules/**', '**/dist/**', '**/.next/**'];
const pg = '**/*.pg.test.ts';
const browser = '**/*.browser.test.{ts,tsx}';

export default defineConfig({
  // Node 20 has no `await using`; it is lowered in tests as the compiler lowers it in the build.
  oxc: { target: 'node20' },
  test: {
    maxWorkers: 2,
    projects: [
      {
        extends: true,
        test: { name: 'pure', include: ['**/*.test.{ts,tsx}'], exclude: [...never, pg, browser, 'e2e/**'] },
      },
      {
        extends: true,
        test: {
          name: 'pg',
          include: [pg],
          exclude: [...never, 'e2e/**'],
          globalSetup: ['packages/testkit/src/global-setup.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        extends: true,
        test: {
          name: 'e2e',
          include: ['e2e/**/*.test.ts'],
          exclude: [...never, browser],
          globalSetup: ['packages/testkit/src/global-setup.ts'],
          fileParallelism: false,
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});

/** What counts as used: tests, benches and published entry points are roots of their own. */
const testFiles = 'src/**/*.{test,pg.test,browser.test}.{ts,tsx}';
const library = { entry: [testFiles, 'bench/**/*.mjs', 'scripts/**/*.mjs'], project: ['src/**/*.{ts,tsx}'] };

export default {
  workspaces: {
    '.': {
      entry: ['vitest.config.ts', 'dependency-cruiser.config.mjs'],
      // The compiler and attw are called as programs; the browser tests' package is the one that vitest itself asks for.
      ignoreDependencies: ['typescript7', '@arethetypeswrong/cli', '@vitest/browser'],
    },
    scripts: { entry: ['*.mjs', '*.test.ts'], project: ['**/*.mjs'] },
    'packages/*': { ...library, entry: ['src/index.ts', 'src/global-setup.ts', ...library.entry] },
    'services/*': { ...library, entry: ['src/main.ts', 'src/index.ts', 'src/config.ts', ...library.entry] },
    // The data set is a file that is found beside its package's build.
    'services/all-in-one': {
      ...library,
      entry: ['src/main.ts', 'src/index.ts', testFiles],
      ignoreDependencies: ['vega-datasets'],
    },
    // Fixtures that other packages' tests import stand in the exports map.
    'sdk/*': {
      ...library,
      entry: ['src/index.ts', 'src/worker.ts', 'src/testing/{index,serve-gateway}.ts', ...library.entry],
    },
    'examples/*': { entry: ['src/main.{ts,tsx}', testFiles, 'vite.config.mjs'], project: ['src/**/*.{ts,tsx}'] },
    'load-tests': {
      // Processes that a benchmark starts, beside the benchmarks themselves.
      entry: ['src/bench/*.ts', 'src/*/*-{part,stack}.ts', 'scenarios/**/*.ts', testFiles],
      project: ['**/*.ts'],
    },
    // Planted bugs: a process that a test starts, and what Node loads before it.
    // Apps of the consumers' tests are copied out and installed there.
    e2e: {
      entry: ['**/*.test.ts', 'src/planted-bugs/{plant,load-hook,history-process}.ts'],
      project: ['**/*.ts', '!src/consumers/{vite,next,node}/**'],
    },
    // Tailwind is named in CSS and its plugin in PostCSS's own settings.
    console: {
      ignoreDependencies: ['tailwindcss', 'postcss'],
      project: ['app/**/*.{ts,tsx}', 'data/**/*.ts', 'features/**/*.{ts,tsx}', 'ui/**/*.{ts,tsx}'],
    },
  },
  ignore: ['**/dist/**', '**/generated/**', 'migrations/**'],
  // A type or a constant that a file exports for its own test or its own signature is no dead code.
  ignoreExportsUsedInFile: true,
  // Parts of a public signature are exported by a package though nobody names them yet.
  rules: { types: 'off', enumMembers: 'off' },
};

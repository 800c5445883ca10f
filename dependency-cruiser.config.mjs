/**
 * The import law: who may import whom. Each rule's comment says where the code belongs instead. Packages are listed from
 * the ground up; a package sees those of lower layers only, never sideways.
 */
const layers = [
  ['domain', 'errors'],
  ['pg-values', 'redis-link'],
  ['protocol', 'pgoutput', 'sync-rules'],
  [
    'bucket-store',
    'op-queue',
    'database',
    'config',
    'egress',
    'telemetry',
    'embedded-postgres',
    'api-client',
    'membership',
    'source-steps',
    'uploads',
  ],
  ['source-connection'],
  ['project-directory'],
];
/** The rooms that decide and do nothing else: bytes, rows and rules in, values out. */
const pure = ['domain', 'errors', 'pg-values', 'protocol', 'pgoutput', 'sync-rules'];
/** Tests, and what only tests import: fixtures and conformance suites. */
const tests = '\\.(test|fixture)\\.tsx?$|/testing/';

/** @param {readonly string[]} names */
const packagesNamed = (names) => `^packages/(${names.join('|')})/`;

/** One rule per layer: nothing beside it, nothing above it. */
const layerRules = layers.flatMap((names, index) =>
  names.map((name) => ({
    name: `layers-${name}`,
    comment: `${name} stands on ${layers.slice(0, index).flat().join(', ') || 'nothing'}. What two packages of a layer share belongs into the layer below; what joins them belongs into a service's app.ts.`,
    severity: 'error',
    from: { path: `^packages/${name}/`, pathNot: [tests, `^packages/${name}/bench/`] },
    to: {
      path: '^(packages|services|sdk|console|e2e|load-tests|examples|scripts)/',
      pathNot: [`^packages/${name}/`, ...(index > 0 ? [packagesNamed(layers.slice(0, index).flat())] : [])],
    },
  })),
);

/** What a room outside packages/ may see of the others. @param {{ name: string, from: string, sees: readonly string[], why: string }} rule */
const sees = ({ name, from, sees: allowed, why }) => ({
  name,
  comment: why,
  severity: 'error',
  from: { path: from, pathNot: tests },
  to: { path: '^(packages|services|sdk|console|e2e|load-tests|examples)/', pathNot: [from, ...allowed] },
});

export default {
  forbidden: [
    {
      name: 'no-cycles',
      comment: 'Two files that need each other are one idea, or miss a third that both need.',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    ...layerRules,
    {
      name: 'pure-packages',
      comment:
        'A pure package touches nothing outside the language: what needs a file, a socket or a process belongs into a service or into the adapter of a port.',
      severity: 'error',
      from: { path: packagesNamed(pure), pathNot: [tests, '/(bench|scripts)/'] },
      to: { dependencyTypes: ['core'] },
    },
    {
      name: 'services-apart',
      comment:
        'Services meet over the queue, the store and the wire. What two of them need belongs into a package; only all-in-one starts them together.',
      severity: 'error',
      from: { path: '^services/([^/]+)/', pathNot: '^services/all-in-one/' },
      to: { path: '^services/([^/]+)/', pathNot: '^services/$1/' },
    },
    {
      name: 'stages-apart',
      comment:
        "Stages of a service meet only in its app.ts, so that reading app.ts reads the design. What two stages share belongs into the service's src/ itself or into a package.",
      severity: 'error',
      from: { path: '^services/(replicator|bucket-worker|gateway|writer)/src/([^/]+)/', pathNot: tests },
      to: { path: '^services/(replicator|bucket-worker|gateway|writer)/src/[^/]+/', pathNot: '^services/$1/src/$2/' },
    },
    {
      name: 'app-is-the-top',
      comment:
        'app.ts joins the stages and main.ts starts it; a stage that needs something from them takes it as an argument.',
      severity: 'error',
      from: { path: '^services/[^/]+/src/', pathNot: ['^services/[^/]+/src/(main|app|index)\\.ts$', tests] },
      to: { path: '^services/[^/]+/src/(main|app)\\.ts$', pathNot: '^services/all-in-one/' },
    },
    {
      name: 'nobody-imports-a-service',
      comment:
        'What others need of a service belongs into a package; tests of the whole path and all-in-one start services.',
      severity: 'error',
      from: { pathNot: ['^services/', '^e2e/', '^load-tests/', tests] },
      to: { path: '^services/' },
    },
    sees({
      name: 'sdk-client',
      from: '^sdk/client/',
      sees: [packagesNamed(['domain', 'errors', 'protocol'])],
      why: 'The SDK ships to browsers: it sees the nouns, the codes and the wire, and nothing of the server.',
    }),
    ...['node', 'react', 'kysely', 'drizzle'].map((name) =>
      sees({
        name: `sdk-${name}-on-client`,
        from: `^sdk/${name}/`,
        sees: [packagesNamed(['domain', 'errors', 'protocol']), '^sdk/client/'],
        why: 'Bindings stand on the client and on what the client sees, not on each other.',
      }),
    ),
    sees({
      name: 'console-and-cli',
      from: '^(console|sdk/cli)/',
      sees: [packagesNamed(['api-client', 'sync-rules', 'errors'])],
      why: 'The console and the CLI speak the public API; rules are checked by sync-rules, and codes explain themselves.',
    }),
    sees({
      name: 'examples',
      from: '^examples/',
      sees: ['^sdk/'],
      why: "An example shows what a tenant's team would write: it sees the published packages alone.",
    }),
    sees({
      name: 'load-scenarios',
      from: '^load-tests/(scenarios|profiles|lib)/',
      sees: ['^load-tests/', packagesNamed(['api-client', 'protocol'])],
      why: 'A load scenario is a client from outside: it speaks the public API and the wire. Benchmarks of single parts go to load-tests/src/bench/.',
    }),
    {
      name: 'testkit-for-tests',
      comment: 'Tests and measurements alone stand on the testkit; what production needs of it belongs into a package.',
      severity: 'error',
      from: { pathNot: [tests, '^packages/testkit/', '^(e2e|load-tests)/', '/bench/'] },
      to: { path: '^packages/testkit/' },
    },
    {
      name: 'no-deep-imports',
      comment: 'A package is what its exports map shows. Ask for an export, or move the code where both can see it.',
      severity: 'error',
      from: { path: '^(packages|services|sdk|console|e2e|load-tests|examples)/([^/]+)/' },
      to: {
        path: '^(packages|sdk)/[^/]+/src/',
        pathNot: '^$1/$2/',
      },
    },
    {
      name: 'no-unresolvable',
      comment:
        'The import names nothing: run `npm run build`, or declare the dependency in the workspace that uses it.',
      severity: 'error',
      // Apps of the consumers' tests are installed where they are copied to.
      from: { pathNot: '^e2e/src/consumers/(vite|next|node)/' },
      to: { couldNotResolve: true },
    },
    {
      name: 'declared-dependencies',
      comment:
        'What a workspace imports stands in its own package.json, so that it can be installed without the others.',
      severity: 'error',
      from: {
        path: '^(packages|services|sdk|console|examples)/',
        pathNot: [tests, '/(bench|scripts)/', '\\.config\\.(ts|mjs)$'],
      },
      // A peer stands among the development dependencies too, at the version that tests run on.
      to: { dependencyTypes: ['npm-no-pkg', 'npm-unknown', 'npm-dev'], dependencyTypesNot: ['npm-peer'] },
    },
  ],
  options: {
    doNotFollow: { path: ['node_modules', '/dist/'] },
    exclude: { path: ['/dist/.*/dist/', '\\.next/', '/generated/'] },
    // Imports of types obey the law as well.
    tsPreCompilationDeps: true,
    combinedDependencies: true,
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['types', 'import', 'default'],
      mainFields: ['module', 'main', 'types'],
    },
  },
};

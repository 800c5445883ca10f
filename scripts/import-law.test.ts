import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { cruise, type ICruiseResult } from 'dependency-cruiser';
import { afterEach, beforeEach, expect, it } from 'vitest';
import law from '../dependency-cruiser.config.mjs';

let tree: string;

beforeEach(async () => {
  tree = await mkdtemp(path.join(tmpdir(), 'sluice-law-'));
});
afterEach(async () => {
  await rm(tree, { recursive: true, force: true });
});

async function write(file: string, text: string): Promise<void> {
  await mkdir(path.dirname(path.join(tree, file)), { recursive: true });
  await writeFile(path.join(tree, file), text);
}

/** The rules that a repository breaks in which `from` imports `to`. */
async function rulesBroken(from: string, to: string): Promise<string[]> {
  const relative = path.relative(path.dirname(from), to);
  await write(to, 'export const thing = 1;\n');
  await write(from, `import { thing } from './${relative}';\nexport const other = thing;\n`);
  const rooms = [...new Set([from, to].map((file) => file.split('/')[0] ?? ''))];
  const { output } = await cruise(rooms, {
    ...law.options,
    baseDir: tree,
    validate: true,
    ruleSet: { forbidden: law.forbidden },
  });
  return (output as ICruiseResult).summary.violations.map((violation) => violation.rule.name);
}

it.each([
  ['sideways among pure packages', 'packages/pgoutput/src/a.ts', 'packages/protocol/src/b.ts', 'layers-pgoutput'],
  ['up from the ground', 'packages/domain/src/a.ts', 'packages/telemetry/src/b.ts', 'layers-domain'],
  ['from a package into a service', 'packages/op-queue/src/a.ts', 'services/gateway/src/feed/b.ts', 'layers-op-queue'],
  [
    'from a service into another',
    'services/gateway/src/feed/a.ts',
    'services/replicator/src/source/b.ts',
    'services-apart',
  ],
  [
    'from a stage into another',
    'services/replicator/src/shard/a.ts',
    'services/replicator/src/source/b.ts',
    'stages-apart',
  ],
  [
    'from a stage up into the wiring',
    'services/gateway/src/feed/a.ts',
    'services/gateway/src/app.ts',
    'app-is-the-top',
  ],
  ['from the SDK into the server', 'sdk/client/src/a.ts', 'packages/bucket-store/src/b.ts', 'sdk-client'],
  ['from the console into the store', 'console/data/a.ts', 'packages/bucket-store/src/b.ts', 'console-and-cli'],
  ['from an example into a package', 'examples/demo/src/a.ts', 'packages/domain/src/b.ts', 'examples'],
  [
    'from production into the testkit',
    'services/gateway/src/feed/a.ts',
    'packages/testkit/src/b.ts',
    'testkit-for-tests',
  ],
  ["past a package's exports", 'services/gateway/src/feed/a.ts', 'packages/domain/src/b.ts', 'no-deep-imports'],
])('refuses an import %s', async (_what, from, to, rule) => {
  expect(await rulesBroken(from, to)).toContain(rule);
});

it.each([
  ['a layer below', 'packages/pgoutput/src/a.ts', 'packages/domain/dist/b.js'],
  ['a package from a service', 'services/gateway/src/feed/a.ts', 'packages/protocol/dist/b.js'],
  ['the stages from the wiring', 'services/gateway/src/app.ts', 'services/gateway/src/feed/b.ts'],
  ['the testkit from a test', 'services/gateway/src/feed/a.test.ts', 'packages/testkit/dist/b.js'],
  ['the wire from the SDK', 'sdk/client/src/a.ts', 'packages/protocol/dist/b.js'],
  ['the client from its bindings', 'sdk/react/src/a.ts', 'sdk/client/dist/b.js'],
])('lets through an import of %s', async (_what, from, to) => {
  expect(await rulesBroken(from, to)).toEqual([]);
});

it('refuses a Node built-in in a pure package, and a cycle anywhere', async () => {
  await write(
    'packages/domain/src/a.ts',
    "import { readFileSync } from 'node:fs';\nexport const read = readFileSync;\n",
  );
  expect(await rulesBroken('packages/domain/src/c.ts', 'packages/domain/src/d.ts')).toContain('pure-packages');
  await write('packages/domain/src/e.ts', "export { f } from './f.ts';\nexport const e = 1;\n");
  await write('packages/domain/src/f.ts', "export { e } from './e.ts';\nexport const f = 1;\n");
  expect(await rulesBroken('packages/domain/src/c.ts', 'packages/domain/src/d.ts')).toContain('no-cycles');
});

/**
 * `npm run check`: everything that can be said about the code in under two minutes, in the order of the cheapest answer.
 * `--no-tests` leaves the tests to `npm test`.
 */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { fail, installIfMissing, root, runBin, runNode, timed } from './repository.mjs';

const lawRooms = ['packages', 'services', 'sdk', 'console', 'e2e', 'load-tests', 'examples', 'scripts'].filter((room) =>
  existsSync(path.join(root, room)),
);

try {
  await installIfMissing();
  await timed('format and lint', () => runBin('biome', ['check', '.'], { quiet: true }));
  await timedScript('database client', 'packages/database/scripts/generate.mjs');
  // From scratch: what an incremental build remembers of a failed one is not always true.
  await timed('types', () => runNode('node_modules/typescript7/bin/tsc', ['-b', '--force', '--pretty', 'false']));
  await timedScript('browser bundle', 'sdk/client/scripts/bundle.mjs');
  await timed('packages', () => runNode('scripts/check-packages.mjs'));
  await timed('lint with types', () => runBin('oxlint', ['--type-aware', '--deny-warnings', '.'], { quiet: true }));
  await timed('import law', () =>
    runBin('depcruise', ['--config', 'dependency-cruiser.config.mjs', ...lawRooms], { quiet: true }),
  );
  await timed('unused code', () => runBin('knip', ['--no-progress', '--no-config-hints'], { quiet: true }));
  await timed('generated pages', () => runNode('scripts/generate-docs.mjs', ['--check'], { quiet: true }));
  if (!process.argv.includes('--no-tests')) {
    await timed('pure tests', () => runBin('vitest', ['run', '--project', 'pure'], { quiet: true }));
  }
} catch (error) {
  fail(error);
}

/** @param {string} name @param {string} file */
async function timedScript(name, file) {
  if (existsSync(path.join(root, file))) await timed(name, () => runNode(file, [], { quiet: true }));
}

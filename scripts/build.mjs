/**
 * `npm run build`: compiles every package and service, and bundles what is shipped as bundles.
 * `--demo` builds the example apps as well, `--all` these and the console.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fail, installIfMissing, root, run, runNode, timed } from './repository.mjs';

const flags = process.argv.slice(2);
const unknown = flags.find((flag) => !['--all', '--demo'].includes(flag));
if (unknown) fail(new Error(`unknown option ${unknown}; use --demo or --all`));

try {
  await installIfMissing();
  // The database client is generated TypeScript, so it comes before the compiler.
  await timedScript('database client', 'packages/database/scripts/generate.mjs');
  await timed('types and code', () => runNode('node_modules/typescript7/bin/tsc', ['-b', '--pretty', 'false']));
  await timedScript('browser bundle', 'sdk/client/scripts/bundle.mjs');
  if (flags.length > 0) {
    for (const example of foldersIn('examples')) await timedWorkspaceBuild(example);
  }
  if (flags.includes('--all')) await timedWorkspaceBuild('console');
} catch (error) {
  fail(error);
}

/** Runs a package's own build script where it has one. @param {string} name @param {string} file */
async function timedScript(name, file) {
  if (existsSync(path.join(root, file))) await timed(name, () => runNode(file, [], { quiet: true }));
}

/** @param {string} folder */
async function timedWorkspaceBuild(folder) {
  const manifest = JSON.parse(readFileSync(path.join(root, folder, 'package.json'), 'utf8'));
  if (!manifest.scripts?.build) return;
  const env = { NEXT_TELEMETRY_DISABLED: '1' };
  await timed(folder, () => run('npm', ['run', 'build', '--workspace', folder], { env, quiet: true }));
}

/** @param {string} folder */
function foldersIn(folder) {
  const entries = readdirSync(path.join(root, folder), { withFileTypes: true });
  return entries.filter((entry) => entry.isDirectory()).map((entry) => `${folder}/${entry.name}`);
}

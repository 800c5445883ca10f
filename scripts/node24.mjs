/**
 * `node scripts/node24.mjs <command> [arguments]`: runs a command with Node 24 first on PATH, from npm's packaged binary,
 * to prove that the newer line works too. Example: `node scripts/node24.mjs npm test`.
 */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { cacheFolder, fail, run, StepFailed } from './repository.mjs';

const version = '24.21.0';
const platform = `${process.platform}-${process.arch}`;
const home = path.join(cacheFolder(), `node-${version}`);
const bin = path.join(home, 'node_modules', `node-${platform}`, 'bin');
const [command, ...args] = process.argv.slice(2);

try {
  if (!command) throw new StepFailed('which command? Example: node scripts/node24.mjs npm test');
  if (platform !== 'linux-x64' && platform !== 'linux-arm64') {
    throw new StepFailed(
      `npm carries no Node ${version} for ${platform}: install it yourself and run the command with it`,
    );
  }
  if (!existsSync(path.join(bin, 'node'))) {
    const install = ['install', '--prefix', home, '--no-save', '--no-package-lock', '--no-audit', '--no-fund'];
    await run('npm', [...install, `node-${platform}@${version}`], { quiet: true, cwd: cacheParent() });
  }
  await run(command, args, { env: { PATH: `${bin}${path.delimiter}${process.env.PATH ?? ''}` }, cwd: process.cwd() });
} catch (error) {
  fail(error);
}

/** Outside the repository: inside it npm would take the prefix for one of its workspaces. */
function cacheParent() {
  return path.parse(home).root;
}

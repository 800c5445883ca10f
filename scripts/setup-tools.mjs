/**
 * `npm run setup-tools`: makes sure that the programs of `tools.mjs` are there, and prints where. What is missing comes
 * from Debian: installed by root, otherwise unpacked into our cache folder without touching the system.
 * Names as arguments limit it: `npm run setup-tools -- chromium`.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fail, run, StepFailed } from './repository.mjs';
import { toolPath, tools, unpackedFolder } from './tools.mjs';

/** @typedef {import('./tools.mjs').ToolName} ToolName */

const wanted = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(tools);
const unknown = wanted.filter((name) => !(name in tools));

try {
  if (unknown.length > 0)
    throw new StepFailed(`unknown tool ${unknown.join(', ')}; there are ${Object.keys(tools).join(', ')}`);
  const names = /** @type {ToolName[]} */ (wanted);
  const missing = names.filter((name) => !toolPath(name));
  if (missing.length > 0) await bring(missing);
  report(names);
} catch (error) {
  fail(error);
}

/** @param {ToolName[]} missing */
async function bring(missing) {
  const packages = missing.map((name) => tools[name].package);
  console.log(`missing: ${missing.join(', ')}; getting ${packages.join(', ')} from Debian (about a minute)`);
  if (!existsSync('/usr/bin/apt-get')) throw new StepFailed(remedy(missing));
  if (process.getuid?.() === 0) await install(packages, missing);
  else await unpack(packages, missing);
}

/** @param {string[]} packages @param {ToolName[]} missing */
async function install(packages, missing) {
  const env = { DEBIAN_FRONTEND: 'noninteractive' };
  try {
    await run('apt-get', ['update', '-q'], { env, quiet: true });
    await run('apt-get', ['install', '-y', '-q', '--no-install-recommends', ...packages], { env, quiet: true });
  } catch {
    throw new StepFailed(remedy(missing));
  }
}

/**
 * Lets apt work out and download what is missing, with lists and archives of our own, so that it needs no rights and
 * changes nothing; then unpacks the archives side by side and puts a wrapper before each program.
 * @param {string[]} packages @param {ToolName[]} missing
 */
async function unpack(packages, missing) {
  const aptFolder = path.join(unpackedFolder, 'apt');
  const archives = path.join(aptFolder, 'archives');
  for (const folder of [path.join(archives, 'partial'), path.join(aptFolder, 'lists', 'partial')]) {
    mkdirSync(folder, { recursive: true });
  }
  const ours = [
    `Dir::State::lists=${aptFolder}/lists`,
    `Dir::Cache=${aptFolder}`,
    `Dir::Cache::archives=${archives}`,
    'Dir::State::status=/var/lib/dpkg/status',
    'Debug::NoLocking=true',
    'APT::Sandbox::User=',
  ].flatMap((option) => ['-o', option]);
  try {
    await run('apt-get', [...ours, 'update', '-q'], { quiet: true });
    const get = ['install', '-y', '-q', '--download-only', '--no-install-recommends', ...packages];
    await run('apt-get', [...ours, ...get], { quiet: true });
    const target = path.join(unpackedFolder, 'root');
    for (const archive of readdirSync(archives).filter((name) => name.endsWith('.deb'))) {
      await run('dpkg-deb', ['-x', path.join(archives, archive), target], { quiet: true });
    }
  } catch {
    throw new StepFailed(remedy(missing));
  }
  rmSync(aptFolder, { recursive: true, force: true });
  for (const name of missing) writeWrapper(name);
}

/** A program that was unpacked elsewhere than it was built for finds its libraries and its configuration by these. */
/** @param {ToolName} name */
function writeWrapper(name) {
  const target = path.join(unpackedFolder, 'root');
  const program = programIn(target, name);
  if (!program) return;
  const bin = path.join(unpackedFolder, 'bin');
  mkdirSync(bin, { recursive: true });
  const libraries = libraryFolders(target).join(':');
  const script = `#!/bin/sh
export LD_LIBRARY_PATH="${libraries}\${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
[ -d /etc/fonts ] || export FONTCONFIG_PATH="${target}/etc/fonts"
export XDG_DATA_DIRS="${target}/usr/share:\${XDG_DATA_DIRS:-/usr/local/share:/usr/share}"
exec "${program}" "$@"
`;
  const wrapper = path.join(bin, name);
  writeFileSync(wrapper, script);
  chmodSync(wrapper, 0o755);
}

/** The program itself, past Debian's own wrappers, which name absolute paths. @param {string} target @param {ToolName} name */
function programIn(target, name) {
  const postgres = path.join(target, 'usr/lib/postgresql');
  const versions = existsSync(postgres) ? readdirSync(postgres) : [];
  const candidates = {
    chromium: ['usr/lib/chromium/chromium'],
    'redis-server': ['usr/bin/redis-server'],
    psql: versions.map((version) => `usr/lib/postgresql/${version}/bin/psql`),
  }[name];
  return candidates.map((candidate) => path.join(target, candidate)).find((candidate) => existsSync(candidate));
}

/** Every folder with shared libraries of the unpacked packages. @param {string} target */
function libraryFolders(target) {
  const found = [];
  for (const base of ['usr/lib', 'lib']) {
    const folder = path.join(target, base);
    if (!existsSync(folder)) continue;
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      if (entry.isDirectory() && /-linux-gnu/.test(entry.name)) found.push(path.join(folder, entry.name));
    }
  }
  return found.flatMap((folder) => [folder, ...withLibraries(folder)]);
}

/** Subfolders that hold libraries themselves, such as PulseAudio's and BLAS's. @param {string} folder */
function withLibraries(folder) {
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => path.join(folder, entry.name))
    .filter((sub) => readdirSync(sub).some((file) => /^lib.*\.so\./.test(file)));
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

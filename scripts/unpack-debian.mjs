/** Debian packages without rights: downloaded and unpacked into our cache folder, for machines where nothing may be installed. */
import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { run } from './repository.mjs';
import { tools, unpackedFolder } from './tools.mjs';

/** @typedef {import('./tools.mjs').ToolName} ToolName */

/**
 * Lets apt work out and download what the system lacks, with lists and archives of our own, so that it needs no rights
 * and changes nothing; then unpacks the archives side by side and puts a wrapper before each program.
 * @param {ToolName[]} names rejects with StepFailed when the packages cannot be had
 */
export async function unpackTools(names) {
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
  await run('apt-get', [...ours, 'update', '-q'], { quiet: true });
  const packages = names.map((name) => tools[name].package);
  const get = ['install', '-y', '-q', '--download-only', '--no-install-recommends', ...packages];
  await run('apt-get', [...ours, ...get], { quiet: true });
  const target = path.join(unpackedFolder, 'root');
  mkdirSync(target, { recursive: true });
  for (const archive of readdirSync(archives).filter((name) => name.endsWith('.deb'))) {
    await run('dpkg-deb', ['-x', path.join(archives, archive), target], { quiet: true });
  }
  rmSync(aptFolder, { recursive: true, force: true });
  for (const name of names) writeWrapper(target, name);
}

/**
 * A program that was unpacked elsewhere than it was built for finds its libraries and fonts by these variables.
 * @param {string} target @param {ToolName} name
 */
function writeWrapper(target, name) {
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

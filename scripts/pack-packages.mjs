/**
 * `node scripts/pack-packages.mjs <folder>`: packs every published package into tarballs, as they would be uploaded. What a package
 * has for this repository alone is taken out on the way: dev dependencies (some are workspaces that nobody publishes), exports
 * of fixtures, references to source maps. Needs a build.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { fail, root, StepFailed } from './repository.mjs';

/** @typedef {{ readonly name: string, readonly folder: string, readonly manifest: Record<string, any> }} Workspace */
/** @typedef {{ readonly name: string, readonly folder: string, readonly tarball: string, readonly files: readonly string[] }} Packed `folder` is the package's own in the repository */

/** @returns {Workspace[]} those that are published */
export function publishedPackages() {
  return readdirSync(path.join(root, 'sdk'))
    .map((name) => path.join(root, 'sdk', name))
    .map((folder) => ({ folder, manifest: JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8')) }))
    .filter(({ manifest }) => manifest.private !== true)
    .map(({ folder, manifest }) => ({ name: manifest.name, folder, manifest }));
}

/**
 * @param {string} folder where the tarballs go; it must exist
 * @returns {Packed[]}
 */
export function packPackages(folder) {
  const packages = publishedPackages();
  const staging = mkdtempSync(path.join(tmpdir(), 'sluice-pack-'));
  try {
    const listed = npmPack(['--dry-run', ...packages.map((one) => one.folder)]);
    const stages = packages.map((one) => stage(one, filesOf(listed, one.name), path.join(staging, one.manifest.name)));
    const packed = npmPack(['--pack-destination', folder, ...stages]);
    return packages.map(({ name, folder: source }) => {
      const { filename } = entryOf(packed, name);
      return { name, folder: source, tarball: path.join(folder, filename), files: filesOf(packed, name) };
    });
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
}

/** @param {Workspace} one @param {readonly string[]} files @param {string} to */
function stage({ folder, manifest }, files, to) {
  for (const file of files) {
    const target = path.join(to, file);
    mkdirSync(path.dirname(target), { recursive: true });
    if (file.endsWith('.d.ts')) writeFileSync(target, publicTypes(readFileSync(path.join(folder, file), 'utf8')));
    else if (file.endsWith('.js')) writeFileSync(target, withoutMap(readFileSync(path.join(folder, file), 'utf8')));
    else cpSync(path.join(folder, file), target);
  }
  writeFileSync(path.join(to, 'package.json'), `${JSON.stringify(publicManifest(manifest), null, 2)}\n`);
  return to;
}

/** @param {Record<string, any>} manifest */
function publicManifest({ devDependencies: _dev, scripts: _scripts, ...manifest }) {
  const { './testing': _testing, ...exports } = manifest.exports;
  return { ...manifest, exports };
}
/** Names end in .js, as every release of TypeScript resolves them. @param {string} text */
function publicTypes(text) {
  return withoutMap(text.replace(/(['"])(\.{1,2}\/[^'"]+)\.tsx?\1/g, '$1$2.js$1'));
}
/** @param {string} text */
function withoutMap(text) {
  return text.replace(/^\/\/# sourceMappingURL=.*\n?/gm, '');
}

/** @param {readonly string[]} args @returns {readonly { name: string, filename: string, files: { path: string }[] }[]} */
function npmPack(args) {
  const options = { cwd: root, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024, shell: process.platform === 'win32' };
  const { status, stdout, stderr } = spawnSync('npm', ['pack', '--json', '--ignore-scripts', ...args], options);
  if (status !== 0) throw new StepFailed(`npm pack ended with ${status}\n${stderr}`);
  // Newer releases of npm give an object by name, older ones a list.
  const given = JSON.parse(stdout);
  return Array.isArray(given) ? given : Object.values(given);
}
/** @param {ReturnType<typeof npmPack>} packed @param {string} name */
function entryOf(packed, name) {
  const entry = packed.find((one) => one.name === name);
  if (!entry) throw new StepFailed(`npm packed no ${name}`);
  return entry;
}
/** @param {ReturnType<typeof npmPack>} packed @param {string} name */
function filesOf(packed, name) {
  return entryOf(packed, name).files.map((file) => file.path);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  try {
    const folder = process.argv[2];
    if (!folder) throw new StepFailed('which folder?');
    mkdirSync(folder, { recursive: true });
    for (const { tarball } of packPackages(path.resolve(folder))) console.log(tarball);
  } catch (error) {
    fail(error);
  }
}

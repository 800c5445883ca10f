/**
 * Finds the programs that tests and the embedded stack use but npm does not carry: on PATH, in /usr/bin, or in our cache
 * folder, where `setup-tools` unpacks Debian packages when nothing may be installed.
 */
import { accessSync, constants } from 'node:fs';
import path from 'node:path';
import { cacheFolder } from './repository.mjs';

/** Unpacked Debian packages (`root/`) and the wrappers that start programs among them (`bin/`). */
export const unpackedFolder = path.join(cacheFolder(), 'debian');

/** The Debian package of each program, and the names that other systems give it. */
export const tools = {
  chromium: { package: 'chromium', names: ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'] },
  'redis-server': { package: 'redis-server', names: ['redis-server', 'valkey-server'] },
  psql: { package: 'postgresql-client', names: ['psql'] },
};

/** @typedef {keyof typeof tools} ToolName */

/** The program's whole path, or undefined when it is nowhere. @param {ToolName} tool @returns {string | undefined} */
export function toolPath(tool) {
  const folders = [...(process.env.PATH ?? '').split(path.delimiter), '/usr/bin', path.join(unpackedFolder, 'bin')];
  for (const name of tools[tool].names) {
    const found = folders
      .filter(Boolean)
      .map((folder) => path.join(folder, name))
      .find(isExecutable);
    if (found) return found;
  }
  return undefined;
}

/** SLUICE_CHROMIUM, or the browser that is found. */
export function chromiumPath() {
  return process.env.SLUICE_CHROMIUM || toolPath('chromium');
}

/**
 * What a test's browser is started with. Chromium's sandbox needs a helper that is installed setuid root, so an unpacked
 * browser goes without it, as does root itself; tests open pages of ours only.
 */
export function chromiumArguments() {
  const isUnpacked = chromiumPath()?.startsWith(unpackedFolder) ?? false;
  const sandbox = process.getuid?.() === 0 || isUnpacked ? ['--no-sandbox'] : [];
  // /dev/shm is tiny in many containers, and a renderer that outgrows it dies without a word.
  return [...sandbox, '--disable-gpu', '--disable-dev-shm-usage', '--disable-background-networking'];
}

/** @param {string} file */
function isExecutable(file) {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

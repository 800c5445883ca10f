/**
 * `node scripts/check-packages.mjs`: what the published packages look like from outside the repository, and how large they are.
 * Packs them and asks publint and "are the types wrong"; what a package holds must name no workspace that is not published, and
 * the part of the client that runs on the page's own thread must stay small. Needs a build.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { packPackages } from './pack-packages.mjs';
import { fail, root, runBin, StepFailed } from './repository.mjs';

/** Bytes of gzip. */
const MAIN_THREAD_BYTES_MAX = 15 * 1024;
/** Entry points that are loaded by address and have no types. */
const ASSETS = ['./worker.js', './sqlite3.wasm'];

const folder = mkdtempSync(path.join(tmpdir(), 'sluice-packages-'));
// At the exit, as a failed step ends the process.
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
try {
  const packed = packPackages(folder);
  const problems = [];
  for (const one of packed) {
    problems.push(...(await publintProblems(one)), ...contentProblems(one));
    await checkTypes(one);
  }
  if (problems.length > 0) throw new StepFailed(`the packages are not fit to be published\n  ${problems.join('\n  ')}`);
  await checkSizes();
} catch (error) {
  fail(error);
}

/** @param {import('./pack-packages.mjs').Packed} packed */
async function publintProblems({ name, folder: source, tarball }) {
  const bytes = readFileSync(tarball);
  const tarballBytes = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
  const { messages, pkg } = await publint({ pack: { tarball: tarballBytes }, strict: true });
  if (!pkg) throw new StepFailed(`publint read nothing of ${source}`);
  return messages.map((message) => `${name}: ${formatMessage(message, pkg, { color: false })}`);
}

/** @param {import('./pack-packages.mjs').Packed} packed */
async function checkTypes({ name, tarball }) {
  const assets = name === '@sluice/client' ? ['--exclude-entrypoints', ...ASSETS] : [];
  const args = [tarball, '--profile', 'esm-only', '--no-definitely-typed', '--format', 'ascii', '--no-emoji'];
  await runBin('attw', [...args, ...assets], { quiet: true });
}

/** @param {import('./pack-packages.mjs').Packed} packed */
function contentProblems({ name, tarball }) {
  const problems = [];
  const unpacked = mkdtempSync(path.join(folder, 'unpacked-'));
  const { status } = spawnSync('tar', ['-xzf', path.basename(tarball), '-C', unpacked], { cwd: path.dirname(tarball) });
  if (status !== 0) throw new StepFailed(`tar ended with ${status}`);
  const home = path.join(unpacked, 'package');
  const { dependencies = {}, peerDependencies = {} } = JSON.parse(
    readFileSync(path.join(home, 'package.json'), 'utf8'),
  );
  const known = new Set([name, ...Object.keys(dependencies), ...Object.keys(peerDependencies)]);
  const files = readdirSync(home, { recursive: true, encoding: 'utf8' });
  for (const file of ['README.md', 'dist/index.js', 'dist/index.d.ts'])
    if (!files.includes(path.normalize(file))) problems.push(`${name}: ${file} is missing`);
  for (const file of files.filter((one) => /\.(js|d\.ts|json)$/.test(one))) {
    const text = readFileSync(path.join(home, file), 'utf8');
    for (const [, found] of text.matchAll(/['"](@sluice\/[a-z-]+)(?=[/'"])/g))
      if (found && !known.has(found))
        problems.push(`${name}: ${file} names ${found}, which an app does not get with it`);
    if (file !== 'package.json' && /['"]\.{1,2}\/[^'"]+\.tsx?['"]/.test(text))
      problems.push(`${name}: ${file} names a file of TypeScript`);
    for (const [, imported] of text.matchAll(/(?:\bfrom|\bimport)\s*\(?['"](\.{1,2}\/[^'"]+)['"]/g)) {
      const target = path.normalize(path.join(path.dirname(file), imported ?? ''));
      const isThere = files.includes(file.endsWith('.d.ts') ? target.replace(/\.js$/, '.d.ts') : target);
      if (!isThere) problems.push(`${name}: ${file} imports ${imported}, which is not packed`);
    }
    if (text.includes(root)) problems.push(`${name}: ${file} names a folder of this machine`);
  }
  return problems;
}

async function checkSizes() {
  const mainThread = await bundledBytes("export { createClient, SluiceError } from '@sluice/client'", []);
  const react = await bundledBytes("export * from '@sluice/react'", ['react', '@sluice/client']);
  const dist = path.join(root, 'sdk/client/dist');
  const rows = [
    weighed('@sluice/client, on the page', mainThread),
    weighed('@sluice/react, without React', react),
    weighed('worker, SQLite with it', readFileSync(path.join(dist, 'worker.bundle.js'))),
    weighed('sqlite3.wasm', readFileSync(path.join(dist, 'sqlite3.wasm'))),
  ];
  for (const { name, bytes, gzip } of rows) console.log(`  ${name}: ${kib(gzip)} gzip (${kib(bytes)})`);
  const [page] = rows;
  if (page && page.gzip > MAIN_THREAD_BYTES_MAX)
    throw new StepFailed(
      `the client's part on the page has ${page.gzip} bytes of gzip; the bound is ${MAIN_THREAD_BYTES_MAX}`,
    );
}

/** @param {string} name @param {Uint8Array} content */
function weighed(name, content) {
  return { name, bytes: content.length, gzip: gzipSync(content, { level: 9 }).length };
}

/** What an app's bundler makes of the import. @param {string} contents @param {string[]} external */
async function bundledBytes(contents, external) {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: path.join(root, 'e2e') },
    bundle: true,
    minify: true,
    write: false,
    format: 'esm',
    target: 'es2022',
    external,
    define: { 'process.env.NODE_ENV': '"production"' },
    logLevel: 'warning',
  });
  return outputFiles[0]?.contents ?? new Uint8Array();
}
/** @param {number} bytes */
function kib(bytes) {
  return `${(bytes / 1024).toFixed(1)} KiB`;
}

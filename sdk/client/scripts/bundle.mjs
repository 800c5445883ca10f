/**
 * Makes dist/ stand alone, after the compiler: the worker with SQLite inside and sqlite3.wasm beside it, and the two
 * entry points with the workspace's own packages inside. Reads dist/ and src/, writes dist/, prints sizes.
 */
import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const home = path.join(path.dirname(fileURLToPath(import.meta.url)), '..');
const wasm = createRequire(import.meta.url).resolve('@sqlite.org/sqlite-wasm/sqlite3.wasm');
const shared = { absWorkingDir: home, bundle: true, format: 'esm', target: 'es2022', logLevel: 'warning' };

await build({
  ...shared,
  entryPoints: ['src/worker.ts'],
  outfile: 'dist/worker.bundle.js',
  platform: 'browser',
  conditions: ['browser', 'import'],
  minify: true,
  legalComments: 'none',
  plugins: [withoutOtherWorkers()],
});
copyFileSync(wasm, path.join(home, 'dist/sqlite3.wasm'));

// The worker's address must stay as it is written, for the app's bundler to find. What both entry points hold is in shared.js:
// a SluiceError of one would otherwise be none of the other's.
await build({
  ...shared,
  entryPoints: ['src/index.ts', 'src/core.ts'],
  outdir: 'dist',
  splitting: true,
  chunkNames: 'shared',
  platform: 'neutral',
  mainFields: ['module', 'main'],
  external: ['@sqlite.org/sqlite-wasm', 'fflate'],
  allowOverwrite: true,
});

inlineTypes(['domain', 'errors', 'protocol']);
await printSizes();

/** What a page loads. The page's own part counts as an app's bundler leaves it. */
async function printSizes() {
  const page = await build({ ...shared, entryPoints: ['dist/index.js'], minify: true, write: false });
  const worker = readFileSync(path.join(home, 'dist/worker.bundle.js'));
  const wasmBytes = readFileSync(path.join(home, 'dist/sqlite3.wasm'));
  const parts = { page: page.outputFiles[0]?.contents ?? new Uint8Array(), worker, wasm: wasmBytes };
  for (const [name, bytes] of Object.entries(parts)) {
    const kilobytes = (/** @type {number} */ length) => `${(length / 1000).toFixed(1)} KB`;
    const zipped = gzipSync(bytes, { level: 9 });
    process.stdout.write(`${name}: ${kilobytes(bytes.length)}, gzip ${kilobytes(zipped.length)}\n`);
  }
}

/**
 * Puts the declarations of the workspace's own packages into dist/packages/ and lets ours name them there, since those
 * packages are not published; names end in .js, as every release of TypeScript resolves them. Only .d.ts files change; running it twice changes nothing.
 * @param {readonly string[]} names
 */
function inlineTypes(names) {
  const dist = path.join(home, 'dist');
  for (const name of names) {
    const from = path.join(home, '../../packages', name, 'dist');
    for (const file of declarationsIn(from)) {
      const to = path.join(dist, 'packages', name, file);
      mkdirSync(path.dirname(to), { recursive: true });
      writeFileSync(to, readFileSync(path.join(from, file), 'utf8'));
    }
  }
  for (const file of declarationsIn(dist)) {
    const full = path.join(dist, file);
    const before = readFileSync(full, 'utf8');
    const after = before
      .replace(/(['"])(\.{1,2}\/[^'"]+)\.ts\1/g, '$1$2.js$1')
      .replace(/'@sluice\/(domain|errors|protocol)'/g, (_, name) => {
        const target = path.relative(path.dirname(full), path.join(dist, 'packages', name, 'index.js'));
        return `'${target.startsWith('.') ? '' : './'}${target.replaceAll(path.sep, '/')}'`;
      });
    if (after !== before) writeFileSync(full, after);
  }
}
/** @param {string} folder */
function declarationsIn(folder) {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter(
    (file) => file.endsWith('.d.ts') && !/(^|[\\/])testing[\\/]|\.(test|fixture)\.d\.ts$/.test(file),
  );
}

/**
 * Takes three expressions out of the SQLite module that start workers for storage we do not use: bundlers follow them and
 * fail. Each must be there exactly once, or the package has changed and this needs another look.
 * @returns {import('esbuild').Plugin}
 */
function withoutOtherWorkers() {
  const edits = [
    ['new URL("sqlite3-opfs-async-proxy.js", import.meta.url)', 'new URL("about:blank")'],
    ['new Worker(new URL("sqlite3-worker1.mjs", import.meta.url), { type: "module" })', 'undefined'],
    ['new Worker(url.toString())', 'undefined'],
  ];
  return {
    name: 'without-other-workers',
    setup(builder) {
      builder.onLoad({ filter: /sqlite-wasm[\\/]dist[\\/]index\.mjs$/ }, ({ path: file }) => {
        let contents = readFileSync(file, 'utf8');
        for (const [from, to] of edits) {
          const parts = contents.split(from);
          if (parts.length !== 2) throw new Error(`${from} stands ${parts.length - 1} times in ${file}`);
          contents = parts.join(to);
        }
        return { contents, loader: 'js' };
      });
    },
  };
}

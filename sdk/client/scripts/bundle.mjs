/**
 * Makes dist/ stand alone, after the compiler: the worker with SQLite inside and sqlite3.wasm beside it, and the two
 * entry points with the workspace's own packages inside. Reads dist/ and src/, writes dist/.
 */
import { copyFileSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
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

// The worker's address must stay as it is written, for the app's bundler to find.
await build({
  ...shared,
  entryPoints: ['src/index.ts'],
  outfile: 'dist/index.js',
  platform: 'browser',
  sourcemap: true,
  allowOverwrite: true,
});
await build({
  ...shared,
  entryPoints: ['src/core.ts'],
  outfile: 'dist/core.js',
  platform: 'neutral',
  mainFields: ['module', 'main'],
  external: ['@sqlite.org/sqlite-wasm', 'fflate'],
  sourcemap: true,
  allowOverwrite: true,
});

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

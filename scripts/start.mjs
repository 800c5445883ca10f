/**
 * `npm start`: installs what is missing, builds what is stale, then runs every service in one process tree.
 * Plain JavaScript without dependencies, because it runs before anything is installed.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import path from 'node:path';
import { toolPath } from './tools.mjs';

const root = path.resolve(import.meta.dirname, '..');

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19))
  fail(`Node ${process.versions.node} is too old.`, 'Install Node 20.19 or newer and run `npm start` again.');

if (isOlder('node_modules/.package-lock.json', 'package-lock.json')) {
  step('Installing packages (once; about a minute)');
  run(
    'npm',
    ['ci', '--no-audit', '--no-fund'],
    'Check that the npm registry can be reached, then run `npm start` again.',
  );
}
step('Building');
run(process.execPath, ['scripts/build.mjs', '--demo'], 'Run `npm run build` to see the whole output.');

const redisServer = process.env.SLUICE_REDIS_SERVER ?? toolPath('redis-server');
const child = spawn(process.execPath, ['services/all-in-one/dist/main.js', ...process.argv.slice(2)], {
  cwd: root,
  stdio: 'inherit',
  env: { ...process.env, ...(redisServer ? { SLUICE_REDIS_SERVER: redisServer } : {}) },
});
// The terminal sends Ctrl-C to the whole group; the child stops in order and this process waits for it.
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => signal === 'SIGTERM' && child.kill(signal));
child.on('exit', (code, signal) => process.exit(code ?? (signal ? 1 : 0)));

/** @param {string} text */
function step(text) {
  console.log(`▸ ${text}`);
}

/** @param {string} made @param {string} from */
function isOlder(made, from) {
  const madeFile = path.join(root, made);
  return !existsSync(madeFile) || statSync(madeFile).mtimeMs < statSync(path.join(root, from)).mtimeMs;
}

/** Runs quietly; shows the output only when it fails. @param {string} command @param {string[]} args @param {string} remedy */
function run(command, args, remedy) {
  const result = spawnSync(command, args, {
    cwd: root,
    encoding: 'utf8',
    shell: process.platform === 'win32',
    maxBuffer: 64 * 1024 * 1024,
  });
  if (result.status === 0) return;
  console.error(`${result.stdout ?? ''}${result.stderr ?? ''}`.trimEnd());
  fail(`\`${command} ${args.join(' ')}\` failed.`, remedy);
}

/** @param {string} what @param {string} remedy @returns {never} */
function fail(what, remedy) {
  console.error(`✗ ${what}\n  ${remedy}`);
  process.exit(1);
}

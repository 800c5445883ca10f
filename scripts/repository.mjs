/** What every script of the repository needs: where it is, and how to run a step and say how it went. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';

export const root = path.resolve(import.meta.dirname, '..');

/** Where tools are kept between runs, for all clones of one user. */
export function cacheFolder() {
  return path.join(process.env.XDG_CACHE_HOME || path.join(homedir(), '.cache'), 'sluice');
}

/** A step that failed; what it printed has been seen already, so only `message` is left to say. */
export class StepFailed extends Error {}

/**
 * Runs a program to its end with our terminal.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ env?: NodeJS.ProcessEnv, quiet?: boolean, cwd?: string }} [options] `quiet` shows its output only when it fails.
 * @returns {Promise<void>} rejects with StepFailed unless it exits with 0
 */
export function run(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: options.cwd ?? root,
      env: { ...process.env, ...options.env },
      stdio: options.quiet ? ['ignore', 'pipe', 'pipe'] : 'inherit',
      shell: process.platform === 'win32' && command === 'npm',
    });
    const output = [];
    child.stdout?.on('data', (chunk) => output.push(chunk));
    child.stderr?.on('data', (chunk) => output.push(chunk));
    child.once('error', (error) => reject(new StepFailed(`${command}: ${error.message}`)));
    child.once('close', (code, signal) => {
      if (code === 0) return resolve();
      process.stderr.write(Buffer.concat(output));
      reject(new StepFailed(`${path.basename(command)} ${args.join(' ')} ended with ${code ?? signal}`));
    });
  });
}

/** Runs a program that npm installed, by the file behind its `bin` name. @param {string} bin @param {readonly string[]} args @param {Parameters<typeof run>[2]} [options] */
export function runBin(bin, args, options) {
  return run(path.join(root, 'node_modules', '.bin', process.platform === 'win32' ? `${bin}.cmd` : bin), args, options);
}

/** Runs one of our scripts or a built file with this Node. @param {string} file @param {readonly string[]} [args] @param {Parameters<typeof run>[2]} [options] */
export function runNode(file, args = [], options = undefined) {
  return run(process.execPath, [path.join(root, file), ...args], options);
}

/** Runs a named step and prints how long it took. @param {string} name @param {() => Promise<unknown>} step */
export async function timed(name, step) {
  const startMs = performance.now();
  try {
    await step();
  } catch (error) {
    console.error(`✗ ${name} (${seconds(startMs)})`);
    throw error;
  }
  console.log(`✓ ${name} (${seconds(startMs)})`);
}

/** @param {number} sinceMs */
function seconds(sinceMs) {
  return `${((performance.now() - sinceMs) / 1000).toFixed(1)} s`;
}

/** Installs the locked packages when nothing is installed yet. */
export async function installIfMissing() {
  if (existsSync(path.join(root, 'node_modules', '.package-lock.json'))) return;
  await timed('install', () => run('npm', ['ci', '--no-audit', '--no-fund'], { quiet: true }));
}

/** Ends the process with the message of a failed step, or with the whole error when it is ours. @param {unknown} error */
export function fail(error) {
  console.error(error instanceof StepFailed ? `✗ ${error.message}` : error);
  process.exit(1);
}

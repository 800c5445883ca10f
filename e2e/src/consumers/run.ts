import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';

/** Kept of what a program says, characters. */
const OUTPUT_MAX = 20_000;

/** Runs a program to its end. @returns what it wrote to its output. @throws Error with all that it said, unless it ends with 0 */
export async function run(cwd: string, command: string, ...args: readonly string[]): Promise<string> {
  const child = start(cwd, command, ...args);
  const said = { stdout: '', both: '' };
  child.stdout?.on('data', (chunk: Buffer) => {
    said.stdout += chunk.toString();
    said.both = (said.both + chunk.toString()).slice(-OUTPUT_MAX);
  });
  child.stderr?.on('data', (chunk: Buffer) => {
    said.both = (said.both + chunk.toString()).slice(-OUTPUT_MAX);
  });
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${code}\n${said.both}`);
  return said.stdout;
}

/** Starts a program as an app's developer would: what the tests' own runner sets does not reach it. */
export function start(cwd: string, command: string, ...args: readonly string[]): ChildProcess {
  const { NODE_ENV: _env, VITEST: _vitest, VITEST_MODE: _mode, ...env } = process.env;
  return spawn(command, args, {
    cwd,
    env: { ...env, NEXT_TELEMETRY_DISABLED: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

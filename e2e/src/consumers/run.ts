import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { developerEnvironment } from './config.ts';

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

/** Starts a program as an app's developer would. */
export function start(cwd: string, command: string, ...args: readonly string[]): ChildProcess {
  return spawn(command, args, { cwd, env: developerEnvironment(), stdio: ['ignore', 'pipe', 'pipe'] });
}

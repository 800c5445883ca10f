import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { testConfig, waitFor } from '@sluice/testkit';

const MAIN = path.resolve(import.meta.dirname, '../../../services/all-in-one/dist/main.js');
const READY_MS = 90_000;
const GONE_MS = 30_000;

export interface TreeOptions {
  readonly home: string;
  readonly ports: { readonly board: number; readonly gateway: number; readonly controlPlane: number };
  readonly changesPerSecond: number;
}

/** What `npm start` runs: one process with embedded Postgres servers and a Redis below it. */
export class SluiceTree implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #lines: string[] = [];
  readonly #exited: Promise<number | undefined>;

  constructor({ home, ports, changesPerSecond }: TreeOptions) {
    this.#child = spawn(process.execPath, [MAIN], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        SLUICE_HOME: home,
        SLUICE_DEMO_PORT: String(ports.board),
        SLUICE_GATEWAY_PORT: String(ports.gateway),
        SLUICE_CONTROL_PLANE_PORT: String(ports.controlPlane),
        SLUICE_DEMO_CHANGES_PER_SECOND: String(changesPerSecond),
        // As scripts/start.mjs finds it.
        SLUICE_REDIS_SERVER: testConfig().redisServer ?? '',
      },
    });
    this.#exited = once(this.#child, 'exit').then(([code]) => (typeof code === 'number' ? code : undefined));
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream?.on('data', (chunk: Buffer) => this.#lines.push(...chunk.toString().split('\n')));
  }

  /** What it printed so far. */
  get output(): string {
    return this.#lines.join('\n');
  }

  /** Waits for a line and gives what the pattern's group holds. */
  prints(pattern: RegExp): Promise<string> {
    return waitFor(
      () => {
        if (this.#child.exitCode !== null) throw new Error(`it ended with code ${this.#child.exitCode}`);
        return pattern.exec(this.output)?.[1];
      },
      { what: `${pattern} in\n${this.output}`, timeoutMs: READY_MS },
    );
  }

  /** Resolves once everything runs. */
  async ready(): Promise<{ board: string; gateway: string; tenantDatabase: string }> {
    return {
      board: await this.prints(/Departure board\s+(\S+)/),
      gateway: await this.prints(/Sync gateway\s+(\S+)/),
      tenantDatabase: await this.prints(/psql (\S+)/),
    };
  }

  /** Ends every process of the tree at the same moment, as a power cut would. */
  async killAll(): Promise<void> {
    const pids = await this.processes();
    for (const pid of pids) killIfThere(pid);
    await this.#exited;
    await allGone(pids);
  }

  /** What Ctrl-C does; resolves to the exit code once no process of the tree is left. */
  async interrupt(): Promise<number | undefined> {
    const pids = await this.processes();
    this.#child.kill('SIGINT');
    const code = await this.#exited;
    await allGone(pids);
    return code;
  }

  /** The process and everything below it. */
  processes(): Promise<number[]> {
    return descendants(this.#child.pid ?? 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await this.killAll();
  }
}

/** Some end by themselves as soon as the one above them is gone. */
function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

async function descendants(root: number): Promise<number[]> {
  const parentByPid = new Map<number, number>();
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const stat = await readFile(`/proc/${name}/stat`, 'utf8').catch(() => '');
    // The command's name stands in parentheses and may hold spaces.
    const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (parent !== undefined && state !== 'Z') parentByPid.set(Number(name), Number(parent));
  }
  const found = [root];
  for (const pid of found) for (const [child, parent] of parentByPid) if (parent === pid) found.push(child);
  return found.filter((pid) => parentByPid.has(pid));
}

async function allGone(pids: readonly number[]): Promise<void> {
  const isGone = async (pid: number): Promise<boolean> => {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
    return stat === '' || stat.slice(stat.lastIndexOf(')') + 2).startsWith('Z');
  };
  await waitFor(async () => (await Promise.all(pids.map(isGone))).every(Boolean), {
    what: 'every process of the tree to end',
    timeoutMs: GONE_MS,
  });
}

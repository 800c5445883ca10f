import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { waitFor } from '@sluice/testkit';

const SERVICE = path.resolve(import.meta.dirname, '../../../scripts/service.mjs');
const READY_MS = 90_000;
const LINES_MAX = 200;
/** Linux counts processor time in hundredths of a second, whatever the kernel's own clock. */
const MS_PER_TICK = 10;
/** Fields of /proc/<pid>/stat behind the name, which ends with the last parenthesis. */
const USER_TICKS = 11;
const SYSTEM_TICKS = 12;

export type ServiceName = 'control-plane' | 'replicator' | 'bucket-worker' | 'gateway';

/** One service as a process of its own, as `npm run service -- <name>` starts it. */
export class ServiceProcess implements AsyncDisposable {
  readonly #name: ServiceName;
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;
  readonly #lines: string[] = [];

  constructor(name: ServiceName, env: Readonly<Record<string, string>>) {
    this.#name = name;
    this.#child = spawn(process.execPath, [SERVICE, name], { stdio: ['ignore', 'pipe', 'pipe'], env });
    this.#exited = once(this.#child, 'exit');
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream?.on('data', (chunk: Buffer) => {
        this.#lines.push(...chunk.toString().split('\n').filter(Boolean));
        this.#lines.splice(0, Math.max(0, this.#lines.length - LINES_MAX));
      });
  }

  /** @throws Error with what it logged, when it ends or is not ready in time */
  async ready(readyUrl: string): Promise<void> {
    const isReady = async (): Promise<boolean> => {
      if (this.#child.exitCode !== null) throw new Error('it ended');
      const answer = await fetch(readyUrl, { signal: AbortSignal.timeout(2_000) }).catch(() => undefined);
      return answer?.status === 200;
    };
    await waitFor(isReady, { what: `${this.#name} to be ready`, timeoutMs: READY_MS }).catch((cause: unknown) => {
      throw new Error(`${this.#name} is not ready\n${this.#lines.join('\n')}`, { cause });
    });
  }

  /** Processor time that it has used so far, milliseconds. */
  cpuMs(): number {
    const stat = readFileSync(`/proc/${this.#child.pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[USER_TICKS]) + Number(fields[SYSTEM_TICKS])) * MS_PER_TICK;
  }

  /** Stands still until `thaw`, with all that it has in memory: a bench compares processes that are warm. */
  freeze(): void {
    this.#child.kill('SIGSTOP');
  }
  thaw(): void {
    this.#child.kill('SIGCONT');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill('SIGKILL');
    await this.#exited;
  }
}

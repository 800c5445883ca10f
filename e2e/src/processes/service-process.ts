import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { type TcpProxy, waitFor } from '@sluice/testkit';

const SERVICE = path.resolve(import.meta.dirname, '../../../scripts/service.mjs');
const READY_MS = 90_000;
/** Of its log these many lines are kept: the first, which say who it is, and the newest. */
const FIRST_LINES = 50;
const LINES_MAX = 2_000;

export type ServiceName = 'control-plane' | 'replicator' | 'bucket-worker' | 'gateway' | 'writer';

/** The process's own ways to the servers that it shares with others. */
export interface ProcessLinks {
  readonly store: TcpProxy;
  readonly redis: TcpProxy;
}

export interface ServiceOptions {
  /** Its name among all that a test started. */
  readonly label: string;
  readonly name: ServiceName;
  readonly env: Readonly<Record<string, string>>;
  /** Where readiness is answered. */
  readonly readyUrl: string;
  readonly links: ProcessLinks | undefined;
}

/** One service as a process of its own, as `npm run service -- <name>` starts it. */
export class ServiceProcess implements AsyncDisposable {
  readonly label: string;
  readonly name: ServiceName;
  readonly #links: ProcessLinks | undefined;
  readonly #readyUrl: string;
  readonly #child: ChildProcess;
  readonly #exited: Promise<number | undefined>;
  readonly #lines: string[] = [];
  #linesLogged = 0;
  #isEnding = false;

  constructor({ label, name, env, readyUrl, links }: ServiceOptions) {
    this.label = label;
    this.name = name;
    this.#readyUrl = readyUrl;
    this.#links = links;
    this.#child = spawn(process.execPath, [SERVICE, name], { stdio: ['ignore', 'pipe', 'pipe'], env });
    this.#exited = once(this.#child, 'exit').then(([code]) => (typeof code === 'number' ? code : undefined));
    for (const stream of [this.#child.stdout, this.#child.stderr])
      if (stream) createInterface({ input: stream }).on('line', (line) => this.#keep(line));
  }

  #keep(line: string): void {
    this.#lines.push(line);
    this.#linesLogged++;
    if (this.#lines.length > LINES_MAX) this.#lines.splice(FIRST_LINES, LINES_MAX / 4);
  }

  /** The newest of what it logged, for a failing test to print. */
  get log(): string {
    return this.#lines.map((line) => `${this.label} ${line}`).join('\n');
  }

  /** How many lines it has logged so far; see `logSince`. */
  get logMark(): number {
    return this.#linesLogged;
  }

  /** What it logged after the mark, as far as it is kept. */
  logSince(mark: number): readonly string[] {
    const count = Math.min(this.#linesLogged - mark, this.#lines.length);
    return count > 0 ? this.#lines.slice(-count) : [];
  }

  /** The name under which it holds leases. */
  get workerId(): string | undefined {
    const line = this.#lines.find((candidate) => candidate.includes('"workerId"'));
    return /"workerId":"([^"]+)"/.exec(line ?? '')?.[1];
  }

  /** @throws Error when its platform has none */
  get links(): ProcessLinks {
    if (!this.#links) throw new Error('start the platform with links');
    return this.#links;
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** It ended, and nobody here asked it to. */
  get hasCrashed(): boolean {
    return !this.isRunning && !this.#isEnding;
  }

  /** How often it logged the message, as far as its log is kept. */
  count(message: string): number {
    return this.#lines.filter((line) => line.includes(`"message":"${message}"`)).length;
  }

  /** The answer to a readiness probe; undefined when there is none. */
  async readiness(): Promise<number | undefined> {
    const answer = await fetch(this.#readyUrl, { signal: AbortSignal.timeout(2_000) }).catch(() => undefined);
    return answer?.status;
  }

  /** A counter of its metrics, over all of its labels; 0 for one that has not counted, or that does not answer. */
  async metric(name: string): Promise<number> {
    const url = new URL('/metrics', this.#readyUrl);
    const answer = await fetch(url, { signal: AbortSignal.timeout(2_000) }).catch(() => undefined);
    const lines = ((await answer?.text()) ?? '').split('\n').filter((line) => line.split(/[{ ]/, 1)[0] === name);
    return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
  }

  async ready(): Promise<this> {
    // One that ended will not get ready, so that is the end of the wait.
    const isReady = async (): Promise<boolean> => !this.isRunning || (await this.readiness()) === 200;
    try {
      await waitFor(isReady, { what: `${this.label} to be ready`, timeoutMs: READY_MS });
    } catch (cause) {
      throw new Error(`${this.label} is not ready\n${this.log}`, { cause });
    }
    if (!this.isRunning) throw new Error(`${this.label} ended\n${this.log}`);
    return this;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Ends it as a crash would. */
  async kill(): Promise<void> {
    this.#isEnding = true;
    if (this.isRunning) this.#child.kill('SIGKILL');
    await this.#exited;
  }

  /** Asks it to end in order; resolves to its exit code. */
  async terminate(): Promise<number | undefined> {
    this.#isEnding = true;
    this.#child.kill('SIGTERM');
    return await this.#exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await this.#links?.store[Symbol.asyncDispose]();
    await this.#links?.redis[Symbol.asyncDispose]();
  }
}

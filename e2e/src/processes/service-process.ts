import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { waitFor } from '@sluice/testkit';

const SERVICE = path.resolve(import.meta.dirname, '../../../scripts/service.mjs');
const READY_MS = 90_000;
const LINES_MAX = 400;

export type ServiceName = 'control-plane' | 'replicator' | 'bucket-worker' | 'gateway';

/** One service as a process of its own, as `npm run service -- <name>` starts it. */
export class ServiceProcess implements AsyncDisposable {
  /** Its name among all that a test started. */
  readonly label: string;
  readonly name: ServiceName;
  /** Where `/readyz` is answered; of the control plane `/health/ready`. */
  readonly #readyUrl: string;
  readonly #child: ChildProcess;
  readonly #exited: Promise<number | undefined>;
  readonly #lines: string[] = [];

  constructor(label: string, name: ServiceName, env: Readonly<Record<string, string>>, readyUrl: string) {
    this.label = label;
    this.name = name;
    this.#readyUrl = readyUrl;
    this.#child = spawn(process.execPath, [SERVICE, name], { stdio: ['ignore', 'pipe', 'pipe'], env });
    this.#exited = once(this.#child, 'exit').then(([code]) => (typeof code === 'number' ? code : undefined));
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream?.on('data', (chunk: Buffer) => {
        this.#lines.push(...chunk.toString().split('\n').filter(Boolean));
        // The first lines say who it is.
        if (this.#lines.length > LINES_MAX) this.#lines.splice(LINES_MAX / 2, this.#lines.length - LINES_MAX);
      });
  }

  /** The newest of what it logged, for a failing test to print. */
  get log(): string {
    return this.#lines.map((line) => `${this.label} ${line}`).join('\n');
  }

  /** The name under which it holds leases. */
  get workerId(): string | undefined {
    const line = this.#lines.find((candidate) => candidate.includes('"workerId"'));
    return /"workerId":"([^"]+)"/.exec(line ?? '')?.[1];
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** How often it logged the message. */
  count(message: string): number {
    return this.#lines.filter((line) => line.includes(`"message":"${message}"`)).length;
  }

  /** The answer to a readiness probe; undefined when there is none. */
  async readiness(): Promise<number | undefined> {
    const answer = await fetch(this.#readyUrl, { signal: AbortSignal.timeout(2_000) }).catch(() => undefined);
    return answer?.status;
  }

  async ready(): Promise<this> {
    const isReady = async (): Promise<boolean> => {
      if (!this.isRunning) throw new Error(`${this.name} ended\n${this.log}`);
      return (await this.readiness()) === 200;
    };
    try {
      await waitFor(isReady, { what: `${this.label} to be ready`, timeoutMs: READY_MS });
    } catch (cause) {
      throw new Error(`${this.label} is not ready\n${this.log}`, { cause });
    }
    return this;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Ends it as a crash would. */
  async kill(): Promise<void> {
    if (this.isRunning) this.#child.kill('SIGKILL');
    await this.#exited;
  }

  /** Asks it to end in order; resolves to its exit code. */
  async terminate(): Promise<number | undefined> {
    this.#child.kill('SIGTERM');
    return await this.#exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}

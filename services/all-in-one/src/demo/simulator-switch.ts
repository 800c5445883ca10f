import type { Clock } from '@sluice/domain';
import pg from 'pg';
import { runSimulator } from './simulator.ts';

/** Starts and stops the traffic simulator; an error of the tenant's database switches it off and is reported. */
export class SimulatorSwitch {
  readonly #url: string;
  readonly #clock: Clock;
  readonly #changesPerSecond: number;
  readonly #onError: (error: unknown) => void;
  #running: { readonly controller: AbortController; readonly ended: Promise<void> } | undefined;

  constructor(options: { url: string; clock: Clock; changesPerSecond: number; onError: (error: unknown) => void }) {
    this.#url = options.url;
    this.#clock = options.clock;
    this.#changesPerSecond = options.changesPerSecond;
    this.#onError = options.onError;
  }

  isRunning(): boolean {
    return this.#running !== undefined;
  }

  setRunning(running: boolean): void {
    if (running === this.isRunning()) return;
    if (!running) {
      this.#running?.controller.abort();
      this.#running = undefined;
      return;
    }
    const controller = new AbortController();
    this.#running = { controller, ended: this.#run(controller.signal) };
  }

  /** Resolves when it has let go of its connection. */
  async stop(): Promise<void> {
    const ended = this.#running?.ended;
    this.setRunning(false);
    await ended;
  }

  async #run(signal: AbortSignal): Promise<void> {
    const client = new pg.Client({ connectionString: this.#url });
    client.on('error', this.#onError);
    try {
      await client.connect();
      await runSimulator(client, this.#clock, this.#changesPerSecond, signal);
    } catch (error) {
      this.#onError(error);
      if (!signal.aborted) this.#running = undefined;
    } finally {
      await client.end().catch(this.#onError);
    }
  }
}

import { type ClientOptions, createClient } from '../browser/create-client.ts';
import { systemClock } from '../system-clock.ts';
import type { SluiceClient, Status } from '../types.ts';

/** Rows of the loopback's table. */
export const ROWS = 400;

/** A client of the source under test with a worker of its own, as each tab has one. */
export interface OpenedClient {
  readonly client: SluiceClient;
  readonly worker: Worker;
}

/** Clients that one test opened. */
export class BrowserClients {
  #opened: OpenedClient[] = [];
  #names = 0;

  newName(): string {
    return `test-${systemClock.nowMs()}-${++this.#names}`;
  }
  /** The loopback has checkpoints up to `lastLsn`; `told` is what its worker hears first. */
  open(name: string, lastLsn: number, rest: Partial<ClientOptions> = {}, told?: string): OpenedClient {
    const worker = new Worker(new URL('./loopback-worker.ts', import.meta.url), { type: 'module' });
    if (told !== undefined) worker.postMessage(told);
    const url = `ws://loopback/?rows=${ROWS}&lastLsn=${lastLsn}`;
    const client = createClient({ url, project: 'demo', auth: () => 'token', name, worker: () => worker, ...rest });
    const opened = { client, worker };
    this.#opened.push(opened);
    return opened;
  }
  /** As the browser does it: nothing in the worker gets to finish. */
  kill(killed: OpenedClient): void {
    killed.worker.terminate();
    this.#opened = this.#opened.filter((one) => one !== killed);
  }
  async closeAll(): Promise<void> {
    const opened = this.#opened;
    this.#opened = [];
    await Promise.all(opened.map(({ client }) => client.close()));
  }
}

/** Resolves with the first status that is right, now or later. */
export function until(client: SluiceClient, isTrue: (status: Status) => boolean): Promise<Status> {
  return new Promise((resolve) => {
    const stop = client.onStatus((status) => {
      if (!isTrue(status)) return;
      queueMicrotask(() => stop());
      resolve(status);
    });
  });
}
export function afterStatusChanges(client: SluiceClient, changes: number): Promise<unknown> {
  let left = changes;
  return until(client, () => left-- <= 0);
}
export const isAt = (lsn: number) => (status: Status) => status.checkpoint?.committedAtMs === lsn;
export async function versions(client: SluiceClient): Promise<unknown> {
  return client.query('SELECT count(*) AS rows, min(version) AS low, max(version) AS high FROM items');
}

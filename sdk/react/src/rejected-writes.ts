import type { RejectedWriteInfo, SluiceClient, WriteStatus } from '@sluice/client';

export const NONE_REJECTED: readonly RejectedWriteInfo[] = Object.freeze([]);

const storeByClient = new WeakMap<SluiceClient, RejectedWrites>();
export function rejectedWritesOf(client: SluiceClient): RejectedWrites {
  let store = storeByClient.get(client);
  if (!store) {
    store = new RejectedWrites(client);
    storeByClient.set(client, store);
  }
  return store;
}

/** The client's refused transactions, read again whenever the status counts others; one for all components. */
export class RejectedWrites {
  readonly #client: SluiceClient;
  readonly #listeners = new Set<() => void>();
  #found: readonly RejectedWriteInfo[] = NONE_REJECTED;
  #counts = '';
  #reads = 0;
  #stop: (() => void) | undefined;

  constructor(client: SluiceClient) {
    this.#client = client;
  }

  readonly getRejected = (): readonly RejectedWriteInfo[] => this.#found;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    this.#stop ??= this.#client.onStatus(({ writes }) => this.#countsChanged(writes));
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size > 0) return;
      this.#stop?.();
      this.#stop = undefined;
      this.#counts = '';
    };
  };

  readonly dismiss = (id: number): Promise<void> => this.#client.dismiss(id);

  /** A refusal is one pending transaction less, so one that comes as another is dismissed still changes a count. */
  #countsChanged({ pending, rejected, lost }: WriteStatus): void {
    const counts = `${pending} ${rejected} ${lost}`;
    if (counts === this.#counts) return;
    this.#counts = counts;
    const read = ++this.#reads;
    if (rejected === 0) this.#set(NONE_REJECTED);
    else
      this.#client.rejected().then(
        (found) => read === this.#reads && this.#set(found),
        // A client that ended has said so in its status.
        () => undefined,
      );
  }
  #set(found: readonly RejectedWriteInfo[]): void {
    const ids = (list: readonly RejectedWriteInfo[]): string => list.map(({ id }) => id).join();
    if (ids(found) === ids(this.#found)) return;
    this.#found = found;
    for (const listener of [...this.#listeners]) listener();
  }
}

import {
  ClientCore,
  InProcessClient,
  memoryStorage,
  SqliteModule,
  systemClock,
  systemRandom,
} from '@sluice/client/core';
import { bucketOf, cell, HELD, type ModelSource, NOTES, newWritesSource, TestGateway } from '@sluice/client/testing';
import initialize from '@sqlite.org/sqlite-wasm';

export interface Note {
  readonly id: number;
  readonly title: string | null;
  readonly count: number;
}

/** A client in this thread on a database in memory, and the gateway that it talks to; nothing is connected yet. */
export interface TestClient {
  readonly client: InProcessClient;
  readonly gateway: TestGateway;
  readonly source: ModelSource;
  /** Sends one checkpoint in which these notes are as given. */
  publish(...notes: readonly Note[]): void;
}

let loading: Promise<SqliteModule> | undefined;

export async function openTestClient(): Promise<TestClient> {
  loading ??= initialize().then((api) => new SqliteModule(api));
  const module = await loading;
  const source = newWritesSource();
  const gateway = new TestGateway(source, HELD);
  gateway.writes = { type: 'writes', state: 'enabled', code: '' };
  let client: InProcessClient | undefined;
  const core = new ClientCore({
    project: 'demo',
    sdk: 'test',
    module,
    storage: memoryStorage(module, undefined),
    clock: systemClock,
    random: systemRandom,
    openSocket: () => {
      const socket = gateway.connect();
      queueMicrotask(() => gateway.accept());
      return socket;
    },
    fetchToken: () => Promise.resolve('token'),
    onStatus: (status) => client?.statusChanged(status),
    bufferedBytesMax: undefined,
    inflate: undefined,
    onStep: undefined,
  });
  client = new InProcessClient(core);
  return {
    client,
    gateway,
    source,
    publish: (...notes) => {
      setNotes(source, notes);
      gateway.push();
    },
  };
}

/** Sets rows of the source, for the next checkpoint. */
export function setNotes(source: ModelSource, notes: readonly Note[]): void {
  source.beginFrame();
  for (const { id, title, count } of notes) {
    const row = [cell(BigInt(id)), cell(title), cell(null), cell(null), cell(BigInt(count))];
    source.set(NOTES.name, row, [bucketOf(NOTES)]);
  }
}

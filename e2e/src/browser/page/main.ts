import {
  createClient,
  type RejectedWriteInfo,
  type SluiceClient,
  type Status,
  type WriteOperation,
} from '@sluice/client';
import { type CellText, textFromCell } from './cell-text.ts';

/** What the test page lets a test do; everything that goes in or out is JSON. */
export interface PageApi {
  open(options: { url: string; project: string; name: string; token: string; connect: boolean }): void;
  /** Resolves once the transaction that counted the tick up to `tick` shows in a live query. */
  reaches(tick: number): Promise<void>;
  query(sql: string): Promise<Record<string, CellText>[]>;
  ready(): Promise<void>;
  status(): Status;
  verify(): Promise<{ ok: boolean; problems: readonly string[] }>;
  write(operations: readonly WriteOperation[]): Promise<void>;
  /** Resolves once nothing is pending. */
  settled(): Promise<void>;
  rejected(): Promise<readonly RejectedWriteInfo[]>;
  /** Writes one row of `notes` after the other, tagged `<tab> 1`, `<tab> 2` and so on, and tells the test of each that is acknowledged. */
  startWriting(tab: string): void;
  /** Resolves when another `count` writes were acknowledged; a rejected one rejects it. */
  writesOn(count: number): Promise<void>;
  /** How many writes were acknowledged since `startWriting`. */
  writesDone(): number;
  stopWriting(): Promise<Writing>;
  /** Calls of one kind each, one after the other, in milliseconds. */
  timesOf(sql: string, calls: number): Promise<readonly number[]>;
  /** The database as a file, in base64. */
  export(): Promise<string>;
}
export interface Writing {
  readonly acknowledged: readonly string[];
  readonly failures: readonly string[];
  /** The longest time between two acknowledgements. */
  readonly gapMs: number;
}

declare global {
  /** The test's own, where it listens. */
  var acknowledged: ((tag: string) => void) | undefined;
}

let client: SluiceClient | undefined;
let writer: Writer | undefined;

function opened(): SluiceClient {
  if (!client) throw new Error('open a client first');
  return client;
}

function running(): Writer {
  if (!writer) throw new Error('start writing first');
  return writer;
}

class Writer {
  readonly #acknowledged: string[] = [];
  readonly #failures: string[] = [];
  readonly #waiting: { readonly at: number; readonly resolve: () => void }[] = [];
  readonly #ended: Promise<void>;
  #isStopped = false;
  #gapMs = 0;

  constructor(of: SluiceClient, tab: string) {
    this.#ended = this.#run(of, tab);
  }
  async #run(of: SluiceClient, tab: string): Promise<void> {
    let lastMs = performance.now();
    for (let i = 1; !this.#isStopped; i++) {
      const tag = `${tab} ${i}`;
      // Done twice, it would be two rows with one tag.
      const sql = 'INSERT INTO notes (id, owner, tag) VALUES (lower(hex(randomblob(16))), ?, ?) RETURNING tag';
      try {
        const [[row] = []] = await of.write({ sql, parameters: ['ana', tag] });
        if (row?.tag !== tag) throw new Error(`another answer: ${JSON.stringify(row)}`);
        this.#acknowledged.push(tag);
        globalThis.acknowledged?.(tag);
      } catch (error) {
        this.#failures.push(String(error));
      }
      this.#gapMs = Math.max(this.#gapMs, performance.now() - lastMs);
      lastMs = performance.now();
      while (this.#waiting[0] && this.#waiting[0].at <= this.#acknowledged.length) this.#waiting.shift()?.resolve();
    }
  }
  on(count: number): Promise<void> {
    return new Promise((resolve) => this.#waiting.push({ at: this.#acknowledged.length + count, resolve }));
  }
  get done(): number {
    return this.#acknowledged.length;
  }
  async stop(): Promise<Writing> {
    this.#isStopped = true;
    await this.#ended;
    return { acknowledged: this.#acknowledged, failures: this.#failures, gapMs: this.#gapMs };
  }
}

const api: PageApi = {
  open({ url, project, name, token, connect }) {
    client = createClient({ url, project, name, auth: () => token });
    if (connect) client.connect();
  },
  reaches: (tick) =>
    new Promise((resolve, reject) => {
      const subscription = opened().live<{ n: number }>(
        'select n from ticks',
        [],
        ([row]) => {
          if (row === undefined || row.n < tick) return;
          subscription.unsubscribe();
          resolve();
        },
        reject,
      );
    }),
  async query(sql) {
    const rows = await opened().query(sql);
    return rows.map((row) => Object.fromEntries(Object.entries(row).map(([name, cell]) => [name, textFromCell(cell)])));
  },
  ready: () => opened().ready(),
  status: () => opened().status(),
  async verify() {
    const { ok, problems } = await opened().verify();
    return { ok, problems };
  },
  async write(operations) {
    await opened().write(operations);
  },
  settled: () =>
    new Promise((resolve) => {
      const stop = opened().onStatus(({ writes }) => {
        if (writes.pending > 0) return;
        queueMicrotask(() => stop());
        resolve();
      });
    }),
  rejected: () => opened().rejected(),
  startWriting(tab) {
    writer = new Writer(opened(), tab);
  },
  writesOn: (count) => running().on(count),
  writesDone: () => running().done,
  stopWriting: () => running().stop(),
  async timesOf(sql, calls) {
    const times: number[] = [];
    for (let i = 0; i < calls; i++) {
      const began = performance.now();
      await opened().query(sql);
      times.push(performance.now() - began);
    }
    return times;
  },
  async export() {
    const file = await opened().export();
    let text = '';
    for (let i = 0; i < file.length; i += 0x8000) text += String.fromCharCode(...file.subarray(i, i + 0x8000));
    return btoa(text);
  },
};
Object.assign(globalThis, { page: api });

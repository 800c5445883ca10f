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
}

let client: SluiceClient | undefined;

function opened(): SluiceClient {
  if (!client) throw new Error('open a client first');
  return client;
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
};
Object.assign(globalThis, { page: api });

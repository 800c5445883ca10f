import { createClient, type SluiceClient } from '@sluice/node';
import type { DatabaseState, Row, TableState } from '../oracle/table-state.ts';
import { type WireTap, wireTap } from '../wire/wire-tap.ts';
import { clientTables, type StreamSpec } from './rules.ts';
import type { Claims } from './source-database.ts';

/** How long a client may take to catch up before the test fails and says where it stands. */
const CATCH_UP_MS = 60_000;

export interface ConnectOptions {
  readonly gatewayPort: number;
  readonly projectRef: string;
  readonly claims: Claims;
  readonly token: () => Promise<string>;
  /** Keeps every byte that the client is sent. */
  readonly isTapped: boolean;
  /** A database file; without it the rows live in memory. */
  readonly file?: string | undefined;
}

/** One user's device: the SDK for Node, through a link that can be cut. */
export interface SyncClient extends AsyncDisposable {
  readonly claims: Claims;
  readonly sdk: SluiceClient;
  /** @throws when the client was made without a tap. */
  readonly tap: WireTap;
  /** Resolves once the client holds the transaction that counted the tick up to `tick`, or a later one. */
  reaches(tick: number): Promise<void>;
  /** The tables of the streams, all at one checkpoint; a table that does not exist is absent. */
  state(streams: readonly StreamSpec[]): Promise<DatabaseState>;
  /** Calls `onSample` with the state at each checkpoint that is applied or refused; the returned function ends that. */
  sample(streams: () => readonly StreamSpec[], onSample: (state: DatabaseState) => void): () => void;
}

export async function connectClient(options: ConnectOptions): Promise<SyncClient> {
  const { gatewayPort, projectRef, claims, token, isTapped, file } = options;
  const tap = isTapped ? await wireTap(gatewayPort) : undefined;
  const sdk = await createClient({
    url: `ws://127.0.0.1:${tap?.port ?? gatewayPort}/sync`,
    project: projectRef,
    auth: token,
    ...(file === undefined ? {} : { file }),
  });
  sdk.connect();
  return {
    claims,
    sdk,
    get tap() {
      if (!tap) throw new Error('connect the client with a tap');
      return tap;
    },
    reaches: (tick) => reaches(sdk, claims, tick),
    state: (streams) => readState(sdk, clientTables(streams)),
    sample: (streams, onSample) => sample(sdk, streams, onSample),
    async [Symbol.asyncDispose]() {
      await sdk.close();
      await tap?.[Symbol.asyncDispose]();
    },
  };
}

function reaches(sdk: SluiceClient, claims: Claims, tick: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let seen: number | undefined;
    const subscription = sdk.live<{ n: number }>('select n from ticks', [], ([row]) => {
      seen = row?.n;
      if (seen !== undefined && seen >= tick) finish(resolve);
    });
    const timer = setTimeout(() => {
      const status = JSON.stringify(sdk.status());
      finish(() => reject(new Error(`${claims.sub} stands at tick ${seen} and never came to ${tick}: ${status}`)));
    }, CATCH_UP_MS);
    function finish(settle: () => void): void {
      clearTimeout(timer);
      subscription.unsubscribe();
      settle();
    }
  });
}

/**
 * Reads all tables in one turn of the event loop: this SDK runs each query before `query` returns, and applies a
 * checkpoint within one turn, so no checkpoint can come in between.
 */
async function readState(sdk: SluiceClient, tables: readonly string[]): Promise<DatabaseState> {
  const reads = tables.map(async (table) => [table, await readTable(sdk, table)] as const);
  const found = await Promise.all(reads);
  return new Map(found.flatMap(([table, state]) => (state ? [[table, state] as const] : [])));
}

async function readTable(sdk: SluiceClient, table: string): Promise<TableState | undefined> {
  const quoted = `"${table.replaceAll('"', '""')}"`;
  // One row of NULLs, which has the columns also of an empty table.
  const columnsRead = sdk.query<Row>(`select t.* from (select 1) left join ${quoted} t on false`);
  const rowsRead = sdk.query<Row>(`select * from ${quoted}`);
  const [columns, rows] = await Promise.allSettled([columnsRead, rowsRead]);
  if (columns.status === 'rejected' || rows.status === 'rejected') return undefined;
  return { columns: Object.keys(columns.value[0] ?? {}), rows: rows.value };
}

function sample(
  sdk: SluiceClient,
  streams: () => readonly StreamSpec[],
  onSample: (state: DatabaseState) => void,
): () => void {
  let last = '';
  return sdk.onStatus(({ checkpoint, lastError }) => {
    if (!checkpoint) return;
    const position = `${checkpoint.epoch}:${checkpoint.lsn}:${lastError?.code ?? ''}`;
    if (position === last) return;
    last = position;
    void readState(sdk, clientTables(streams())).then(onSample, () => {});
  });
}

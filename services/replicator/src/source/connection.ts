import { PINNED_SETTINGS } from '@sluice/pg-values';
import { clientConfig, connectError, type SourceConnection, sourceError } from '@sluice/source-connection';
import { Client, type ClientConfig } from 'pg';

/** What a role or database may have set and would break us: a copy cut short, rows hidden, a publication refused. */
const SESSION_SETTINGS = {
  ...PINNED_SETTINGS,
  row_security: 'off',
  statement_timeout: '0',
  lock_timeout: '0',
  idle_in_transaction_session_timeout: '0',
  default_transaction_read_only: 'off',
  default_transaction_isolation: 'read\\ committed',
} as const;

/** For a session of this service, whatever its mode. */
export function readerConfig(connection: SourceConnection): ClientConfig {
  return clientConfig(connection, SESSION_SETTINGS);
}

/** One session on the source; errors of its statements are AppErrors with the SQLSTATE as a detail. */
export interface SourceSession extends AsyncDisposable {
  /** For what this interface does not have (COPY, the process id). */
  readonly client: Client;
  /** With `rowMode: 'array'` a row is its values in order. */
  query<Row extends object>(
    sql: string | { readonly text: string; readonly rowMode: 'array' },
    parameters?: readonly unknown[],
  ): Promise<Row[]>;
  /** Resolves when the session ended, or when aborted. */
  ended(signal: AbortSignal): Promise<void>;
  /** Ends the session at once, whatever it is doing. */
  destroy(): void;
}

/**
 * Opens a session under the pinned settings; in `replication` mode it takes replication commands too, and only
 * statements without parameters. @throws AppError
 */
export async function openSession(
  connection: SourceConnection,
  mode: 'ordinary' | 'replication' = 'ordinary',
): Promise<SourceSession> {
  const client = new Client({
    ...readerConfig(connection),
    ...(mode === 'replication' ? { replication: 'database' } : {}),
  } as ClientConfig);
  // A lost connection also fails the statement in flight or the next one, which is where it is handled.
  client.on('error', () => {});
  try {
    await client.connect();
  } catch (error) {
    destroyClient(client);
    throw connectError(error);
  }
  const session = sessionOf(client);
  await session.query(DISARM_TIMEOUTS);
  return session;
}

/** Timeouts that only newer servers know, so that they cannot be startup options. */
const DISARM_TIMEOUTS =
  "SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name IN ('idle_session_timeout', 'transaction_timeout')";

function sessionOf(client: Client): SourceSession {
  // Several parts share a session, and the driver wants one statement at a time.
  let last: Promise<unknown> = Promise.resolve();
  let isEnded = false;
  client.once('end', () => {
    isEnded = true;
  });
  return {
    client,
    async query<Row extends object>(
      sql: string | { readonly text: string; readonly rowMode: 'array' },
      parameters?: readonly unknown[],
    ) {
      // The types have an overload for each form; both give rows.
      const run = (): Promise<{ rows: Row[] }> =>
        parameters === undefined ? client.query<Row>(sql as string) : client.query<Row>(sql as string, [...parameters]);
      const result = last.then(run, run);
      last = result.catch(() => {});
      try {
        return (await result).rows;
      } catch (error) {
        throw sourceError(error);
      }
    },
    ended(signal: AbortSignal) {
      return new Promise((resolve) => {
        if (signal.aborted || isEnded) resolve();
        client.once('end', resolve);
        signal.addEventListener('abort', () => resolve(), { once: true });
      });
    },
    destroy: () => destroyClient(client),
    async [Symbol.asyncDispose]() {
      // A session in the middle of a statement is cut by `end`, an idle one says goodbye; a dead one has nothing to say.
      await client.end().catch(() => {});
    },
  };
}

function destroyClient(client: Client): void {
  connectionOf(client).stream.destroy();
}

/** What we use of pg's connection object, which its types leave out. */
export interface RawConnection {
  /** Replaced by the TLS socket when the session is encrypted; final once the client is connected. */
  readonly stream: import('node:net').Socket;
  /** Sends CopyData. */
  sendCopyFromChunk(chunk: Buffer): void;
}
export function connectionOf(client: Client): RawConnection {
  // `connection` is public in pg's code and documented for replication, but not in its types.
  return (client as unknown as { readonly connection: RawConnection }).connection;
}

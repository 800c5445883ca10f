import type { ConnectionOptions } from 'node:tls';
import { Secret } from '@sluice/config';
import { PINNED_SETTINGS_OPTIONS } from '@sluice/pg-values';
import { Client, type ClientConfig } from 'pg';
import { connectError, sourceError } from './source-error.ts';

/** How to reach one customer's Postgres: parsed and judged where it was entered, used here as it is. */
export interface SourceConnection {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly user: string;
  readonly password: Secret;
  /** `ca` is a PEM text; without one the system's authorities count. The host name is always verified. */
  readonly tls: { readonly kind: 'off' } | { readonly kind: 'verify-full'; readonly ca: string | undefined };
}

/** Takes a `postgres://` URL apart, without TLS: for servers of our own on this machine. @throws TypeError */
export function sourceConnectionFromUrl(url: string): SourceConnection {
  const parsed = new URL(url);
  return {
    host: decodeURIComponent(parsed.hostname),
    port: parsed.port === '' ? 5432 : Number(parsed.port),
    database: decodeURIComponent(parsed.pathname.slice(1)),
    user: decodeURIComponent(parsed.username),
    password: new Secret(decodeURIComponent(parsed.password)),
    tls: { kind: 'off' },
  };
}

/** What a role or database may have set and would break us: a copy cut short, rows hidden, a publication refused. */
const SESSION_OPTIONS = [
  'row_security=off',
  'statement_timeout=0',
  'lock_timeout=0',
  'idle_in_transaction_session_timeout=0',
  'default_transaction_read_only=off',
  'default_transaction_isolation=read\\ committed',
]
  .map((setting) => `-c ${setting}`)
  .join(' ');

const connectTimeoutMs = 10_000;

/** Everything is given, so that neither the environment nor a service file of this machine adds to it. */
export function clientConfig(connection: SourceConnection): ClientConfig {
  const ssl: ConnectionOptions | false =
    connection.tls.kind === 'off'
      ? false
      : {
          rejectUnauthorized: true,
          servername: connection.host,
          ...(connection.tls.ca === undefined ? {} : { ca: connection.tls.ca }),
        };
  return {
    host: connection.host,
    port: connection.port,
    database: connection.database,
    user: connection.user,
    password: () => connection.password.reveal(),
    ssl,
    options: `${PINNED_SETTINGS_OPTIONS} ${SESSION_OPTIONS}`,
    application_name: 'sluice',
    connectionTimeoutMillis: connectTimeoutMs,
    keepAlive: true,
  };
}

/** One session on the source; errors of its statements are AppErrors with the SQLSTATE as a detail. */
export interface SourceSession extends AsyncDisposable {
  /** For what this interface does not have (COPY, the process id). */
  readonly client: Client;
  query<Row extends object>(sql: string, parameters?: readonly unknown[]): Promise<Row[]>;
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
    ...clientConfig(connection),
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
    async query<Row extends object>(sql: string, parameters?: readonly unknown[]) {
      const run = (): Promise<{ rows: Row[] }> =>
        parameters === undefined ? client.query<Row>(sql) : client.query<Row>(sql, [...parameters]);
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

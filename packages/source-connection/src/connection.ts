import type { ConnectionOptions } from 'node:tls';
import { Secret } from '@sluice/config';
import type { ClientConfig } from 'pg';

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

const connectTimeoutMs = 10_000;

/**
 * Everything is given, so that neither the environment nor a service file of this machine adds to it.
 * @param settings of the session; they outrank what the role or database sets. Values as in a startup packet: `\\ ` for a blank
 */
export function clientConfig(connection: SourceConnection, settings: Readonly<Record<string, string>>): ClientConfig {
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
    options: Object.entries(settings)
      .map(([name, value]) => `-c ${name}=${value}`)
      .join(' '),
    application_name: 'sluice',
    connectionTimeoutMillis: connectTimeoutMs,
    keepAlive: true,
  };
}

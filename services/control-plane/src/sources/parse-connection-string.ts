import type { SourceAddress, TlsMode } from '@sluice/database';
import { AppError } from '@sluice/errors';
import { type HostPolicy, parseHost, parsePort } from './parse-host.ts';

export interface ParsedConnection {
  readonly address: Omit<SourceAddress, 'tlsCa'>;
  readonly password: string;
}

const CONNECTION_STRING_CHARS_MAX = 2048;
/** Names are truncated by Postgres beyond this many bytes, silently. */
const IDENTIFIER_BYTES_MAX = 63;
const TLS_MODES: readonly string[] = ['disable', 'require', 'verify-ca', 'verify-full'] satisfies TlsMode[];

/**
 * Reads `postgres://user:password@host[:port]/database[?sslmode=...]` and nothing else. libpq and its kin accept
 * parameters that read files, name another host or set server options; here every parameter but `sslmode` is refused,
 * and only the parts that are returned ever reach a driver.
 * @throws AppError CONN_STRING_INVALID, CONN_FIELD_REFUSED, CONN_HOST_FORBIDDEN, CONN_TLS_REQUIRED. None of them holds
 *   any part of the text but the name of a refused parameter.
 */
export function parseConnectionString(text: string, policy: HostPolicy): ParsedConnection {
  if (text.length > CONNECTION_STRING_CHARS_MAX) throw invalid(`at most ${CONNECTION_STRING_CHARS_MAX} characters`);
  if (!/^[\x21-\x7e]*$/.test(text)) throw invalid('printable ASCII only');
  const match = /^postgres(?:ql)?:\/\/([^/?#]*)(?:\/([^/?#]*))?(?:\?([^#]*))?$/.exec(text);
  if (!match) throw invalid('it is not of this form');
  const [, authority = '', database = '', query = ''] = match;
  const { credentials, hostAndPort } = splitAuthority(authority);
  const tlsMode = parseQuery(query);
  if (policy === 'hosted' && tlsMode !== 'verify-full' && tlsMode !== 'verify-ca')
    throw new AppError('CONN_TLS_REQUIRED');
  const { host, port } = parseHostAndPort(hostAndPort, policy);
  return {
    address: {
      host,
      port,
      database: decodeName(database, 'the database'),
      user: decodeName(credentials.user, 'the user'),
      tlsMode,
    },
    password: decodePassword(credentials.password),
  };
}

function splitAuthority(authority: string): {
  credentials: { user: string; password: string };
  hostAndPort: string;
} {
  const [credentials, hostAndPort, ...rest] = authority.split('@');
  if (credentials === undefined || hostAndPort === undefined || rest.length > 0)
    throw invalid('user and password stand before one "@"');
  const [user, password, ...more] = credentials.split(':');
  if (user === undefined || password === undefined || more.length > 0)
    throw invalid('user and password are parted by one ":"');
  return { credentials: { user, password }, hostAndPort };
}

function parseHostAndPort(text: string, policy: HostPolicy): { host: string; port: number } {
  const match = /^(\[[^\]]*\]|[^:[\]]*)(?::([^:]*))?$/.exec(text);
  if (!match) throw new AppError('CONN_HOST_FORBIDDEN');
  const [, host = '', port] = match;
  return { host: parseHost(host, policy), port: parsePort(port ?? '5432', policy) };
}

/** The default is the strict mode: who wants less says so. */
function parseQuery(query: string): TlsMode {
  if (query === '') return 'verify-full';
  const parameters = query.split('&').map((part) => part.split('='));
  for (const [name = ''] of parameters) if (name !== 'sslmode') throw refused(name);
  const [[, mode] = []] = parameters;
  if (parameters.length !== 1) throw refused('sslmode');
  if (mode === undefined || !TLS_MODES.includes(mode)) throw invalid(`sslmode is one of ${TLS_MODES.join(', ')}`);
  return mode as TlsMode;
}

function decodeName(encoded: string, what: string): string {
  const name = percentDecode(encoded);
  if (name === '') throw invalid(`${what} is missing`);
  if (new TextEncoder().encode(name).length > IDENTIFIER_BYTES_MAX) throw invalid(`${what} is longer than 63 bytes`);
  return name;
}

function decodePassword(encoded: string): string {
  const password = percentDecode(encoded);
  if (password === '') throw invalid('the password is missing');
  return password;
}

function percentDecode(encoded: string): string {
  let text: string;
  try {
    text = decodeURIComponent(encoded);
  } catch {
    throw invalid('the percent-encoding is broken');
  }
  // The wire protocol ends strings at NUL, so everything after it would silently be something else.
  if (text.includes('\0') || /\p{Cc}/u.test(text)) throw invalid('it holds a control character');
  return text;
}

function invalid(reason: string): AppError {
  return new AppError('CONN_STRING_INVALID', { details: { reason } });
}

function refused(name: string): AppError {
  return new AppError('CONN_FIELD_REFUSED', { details: { field: name.slice(0, 40) } });
}

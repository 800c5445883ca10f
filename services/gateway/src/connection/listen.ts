import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { LIMITS, SUBPROTOCOL_BINARY, SUBPROTOCOL_JSON } from '@sluice/protocol';
import { type WebSocket, WebSocketServer } from 'ws';
import type { AdmissionRefusal } from './admission.ts';
import { clientAddress } from './client-address.ts';

export interface ListenOptions {
  readonly host: string;
  /** 0 chooses a free one. */
  readonly port: number;
  /** For `isAllowed`; a request without an origin comes from no web page. */
  readonly allowedOrigins: readonly string[];
  /** Proxies of ours that a request has passed, for `clientAddress`. */
  readonly trustedProxies: number;
  /** Why this address may not have one more connection. */
  readonly refusalOf: (address: string) => AdmissionRefusal | undefined;
  readonly onConnection: (connection: Connection) => void;
  /** A refused upgrade, by its code. */
  readonly onRefused: (code: RefusalCode) => void;
  /** Undefined when healthy, else why not. */
  readonly health: () => string | undefined;
}
type RefusalCode = 'ORIGIN_REFUSED' | AdmissionRefusal['code'];
export interface Connection {
  readonly socket: WebSocket;
  /** As limits go by it. */
  readonly address: string;
  readonly stream: Duplex;
  readonly isJson: boolean;
}
export interface Listener {
  readonly port: number;
  /** Takes no more connections; those that are open stay. */
  stop(): Promise<void>;
  /** Ends what is still open. */
  terminate(): void;
}

const PATH = '/sync';

/**
 * The port that faces the clients. Upgrades are answered only on the one path; no compression, because a bucket is
 * compressed once for everybody; nothing larger than a client message is read.
 */
export async function listen(options: ListenOptions): Promise<Listener> {
  const sockets = new WebSocketServer({
    noServer: true,
    clientTracking: true,
    perMessageDeflate: false,
    maxPayload: LIMITS.clientMessageBytesMax,
    skipUTF8Validation: false,
    handleProtocols: (offered) =>
      offered.has(SUBPROTOCOL_BINARY) ? SUBPROTOCOL_BINARY : offered.has(SUBPROTOCOL_JSON) ? SUBPROTOCOL_JSON : false,
  });
  const server = createServer((request, response) => answer(request, response, options));
  // Only small requests come here, and a peer that sends slowly gets no chance to hold sockets open.
  server.requestTimeout = 5000;
  server.headersTimeout = 5000;
  server.maxHeadersCount = 100;
  server.on('upgrade', (request, stream, head) => {
    // Until the socket is handed over nobody else listens for its errors.
    stream.on('error', () => stream.destroy());
    const address = addressOf(request, options);
    const refusal = refusalOf(request, address, options);
    if (refusal) {
      if (refusal.code) options.onRefused(refusal.code);
      refuse(stream, refusal);
      return;
    }
    sockets.handleUpgrade(request, stream, head, (socket) => {
      options.onConnection({ socket, stream, address, isJson: socket.protocol === SUBPROTOCOL_JSON });
    });
  });
  server.listen(options.port, options.host);
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the gateway has no port');
  return {
    port: address.port,
    async stop() {
      server.close();
      server.closeIdleConnections();
    },
    terminate() {
      for (const socket of sockets.clients) socket.terminate();
      server.closeAllConnections();
    },
  };
}

interface Refusal {
  readonly status: string;
  readonly code: RefusalCode | undefined;
  readonly retryAfterS?: number;
}
function refusalOf(request: IncomingMessage, address: string, options: ListenOptions): Refusal | undefined {
  // Nothing but the bare path: a token in a URL would end up in logs.
  if (request.url !== PATH) return { status: '404 Not Found', code: undefined };
  const { origin } = request.headers;
  if (origin !== undefined && !isAllowed(origin, options.allowedOrigins))
    return { status: '403 Forbidden', code: 'ORIGIN_REFUSED' };
  const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim());
  if (!offered.includes(SUBPROTOCOL_BINARY) && !offered.includes(SUBPROTOCOL_JSON))
    return { status: '400 Bad Request', code: undefined };
  const refusal = options.refusalOf(address);
  if (!refusal) return undefined;
  const status = refusal.code === 'GATEWAY_FULL' ? '503 Service Unavailable' : '429 Too Many Requests';
  return { status, ...refusal };
}

function addressOf(request: IncomingMessage, { trustedProxies }: ListenOptions): string {
  const header = request.headers['x-forwarded-for'];
  const forwardedFor = Array.isArray(header) ? header.join(',') : header;
  return clientAddress(request.socket.remoteAddress, forwardedFor, trustedProxies);
}

/** @param allowed origins as browsers send them, or `*` for all, or `loopback` for pages of this machine */
export function isAllowed(origin: string, allowed: readonly string[]): boolean {
  if (allowed.includes('*') || allowed.includes(origin)) return true;
  return allowed.includes('loopback') && /^https?:\/\/(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?$/.test(origin);
}

function refuse(stream: Duplex, { status, code, retryAfterS }: Refusal): void {
  const body = code ?? '';
  const retry = retryAfterS === undefined ? '' : `Retry-After: ${retryAfterS}\r\n`;
  stream.end(
    `HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Type: text/plain\r\n${retry}Content-Length: ${body.length}\r\n\r\n${body}`,
  );
}

function answer(request: IncomingMessage, response: ServerResponse, options: ListenOptions): void {
  const isHealth = request.method === 'GET' && request.url === '/healthz';
  const why = isHealth ? options.health() : undefined;
  const status = isHealth ? (why === undefined ? 200 : 503) : request.url === PATH ? 426 : 404;
  const text = isHealth ? (why ?? 'ok') : status === 426 ? 'upgrade required' : 'not found';
  response.writeHead(status, { 'content-type': 'text/plain', 'cache-control': 'no-store', connection: 'close' });
  response.end(`${text}\n`);
}

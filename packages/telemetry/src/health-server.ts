import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { Metrics } from './metrics.ts';

/** Undefined when the part is ready, else one line saying why not. Must answer within a second or two. */
export type ReadinessCheck = () => string | undefined | Promise<string | undefined>;

export interface HealthServerOptions {
  /** 0 chooses a free one. */
  readonly port: number;
  /** Default 127.0.0.1. A container whose probes come from outside gives another. */
  readonly host?: string;
  /** Readiness by part; the service is ready when every part is. */
  readonly checks: Readonly<Record<string, ReadinessCheck>>;
  readonly metrics?: Metrics;
}

export interface HealthServer extends AsyncDisposable {
  readonly port: number;
}

/**
 * `GET /livez`: the event loop turns. `GET /readyz`: 200, or 503 with the reason per part; not ready never means
 * "restart me". `GET /metrics`: Prometheus. The answers are for operators: reasons hold no values of tenants.
 */
export async function startHealthServer(options: HealthServerOptions): Promise<HealthServer> {
  const server = createServer((request, response) => {
    const path = (request.url ?? '/').split('?')[0];
    if (request.method !== 'GET') answer(response, 405, 'text/plain', 'method not allowed\n');
    else if (path === '/livez') answer(response, 200, 'text/plain', 'ok\n');
    else if (path === '/readyz') void answerReadiness(response, options.checks);
    else if (path === '/metrics' && options.metrics) void answerMetrics(response, options.metrics);
    else answer(response, 404, 'text/plain', 'not found\n');
  });
  // Probes are short; a peer that sends slowly gets no chance to hold sockets open.
  server.requestTimeout = 5_000;
  server.headersTimeout = 5_000;
  server.listen(options.port, options.host ?? '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the health server has no port');
  return {
    port: address.port,
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
      if (server.listening) await once(server, 'close');
    },
  };
}

async function answerReadiness(response: ServerResponse, checks: HealthServerOptions['checks']): Promise<void> {
  const parts = await Promise.all(
    Object.entries(checks).map(async ([part, check]) => [part, await reasonOf(check)] as const),
  );
  const notReady = parts.filter(([, reason]) => reason !== undefined);
  const body = { ready: notReady.length === 0, notReady: Object.fromEntries(notReady) };
  answer(response, body.ready ? 200 : 503, 'application/json', `${JSON.stringify(body)}\n`);
}

async function reasonOf(check: ReadinessCheck): Promise<string | undefined> {
  try {
    return await check();
  } catch {
    // The error may hold anything; the part's own log has it.
    return 'the check failed';
  }
}

async function answerMetrics(response: ServerResponse, metrics: Metrics): Promise<void> {
  try {
    answer(response, 200, metrics.contentType, await metrics.text());
  } catch {
    answer(response, 500, 'text/plain', 'metrics could not be collected\n');
  }
}

function answer(response: ServerResponse, status: number, contentType: string, body: string): void {
  response.writeHead(status, { 'content-type': contentType, 'cache-control': 'no-store' });
  response.end(body);
}

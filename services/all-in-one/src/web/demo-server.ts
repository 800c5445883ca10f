import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { SignJWT } from 'jose';
import { DEMO_CREW } from '../demo/crew.ts';
import { serveFile } from './static-files.ts';

const TOKEN_LIFETIME = '15m';
const BODY_BYTES_MAX = 1024;

export interface DemoServerOptions {
  /** Folder of the built departure board. */
  readonly root: string;
  readonly gatewayUrl: string;
  readonly projectRef: string;
  readonly issuer: string;
  readonly audience: string;
  readonly tokenSecret: Uint8Array;
  readonly simulator: { isRunning(): boolean; setRunning(running: boolean): void };
}
export interface DemoServer {
  readonly url: string;
  close(): Promise<void>;
}

/**
 * The demo tenant's own backend: serves the board and signs its users in. There is no password because there is nothing
 * to protect: it listens on this machine only, and its rows are public data.
 */
export async function startDemoServer(options: DemoServerOptions, port: number): Promise<DemoServer> {
  const server = createServer((request, response) => {
    answer(options, request, response).catch(() => {
      if (!response.headersSent) response.writeHead(500);
      response.end();
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, // A TCP server's address is an AddressInfo.
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function answer(options: DemoServerOptions, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://127.0.0.1');
  const route = `${request.method} ${url.pathname}`;
  if (route === 'GET /api/users')
    json(
      response,
      200,
      DEMO_CREW.map(({ id, name, role }) => ({ id, name, role })),
    );
  else if (route === 'GET /api/session') await session(options, url.searchParams.get('user') ?? '', response);
  else if (route === 'GET /api/simulator') json(response, 200, { running: options.simulator.isRunning() });
  else if (route === 'PUT /api/simulator') await switchSimulator(options, request, response);
  else if (request.method !== 'GET' || !(await serveFile(options.root, url.pathname, response)))
    json(response, 404, { error: 'not found' });
}

async function session(options: DemoServerOptions, user: string, response: ServerResponse): Promise<void> {
  if (!DEMO_CREW.some((crew) => crew.id === user)) return json(response, 404, { error: 'no such user' });
  const token = await new SignJWT({})
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject(user)
    .setIssuer(options.issuer)
    .setAudience(options.audience)
    .setIssuedAt()
    .setExpirationTime(TOKEN_LIFETIME)
    .sign(options.tokenSecret);
  json(response, 200, { token, gatewayUrl: options.gatewayUrl, project: options.projectRef });
}

async function switchSimulator(
  options: DemoServerOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  // A page of another origin cannot send this content type without asking first, and is never allowed to.
  if (request.headers['content-type'] !== 'application/json')
    return json(response, 415, { error: 'send application/json' });
  let body = '';
  for await (const part of request) {
    body += String(part);
    if (body.length > BODY_BYTES_MAX) return json(response, 413, { error: 'too long' });
  }
  const wanted = parseRunning(body);
  if (wanted === undefined) return json(response, 400, { error: 'send {"running": true} or {"running": false}' });
  options.simulator.setRunning(wanted);
  json(response, 200, { running: options.simulator.isRunning() });
}

function parseRunning(body: string): boolean | undefined {
  try {
    const value: unknown = JSON.parse(body);
    if (typeof value === 'object' && value !== null && 'running' in value && typeof value.running === 'boolean')
      return value.running;
  } catch {
    return undefined;
  }
  return undefined;
}

function json(response: ServerResponse, status: number, value: unknown): void {
  const body = JSON.stringify(value);
  response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' });
  response.end(body);
}

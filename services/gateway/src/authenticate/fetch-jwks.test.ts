import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';
import { fetchJson } from './fetch-jwks.ts';

const limits = { timeoutMs: 300, bytesMax: 1000, allowPrivate: true };
const open: Server[] = [];
async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  open.push(server);
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return `http://127.0.0.1:${address.port}/jwks`;
}
afterEach(() => {
  for (const server of open.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

describe('fetching a key set', () => {
  it('gives the JSON', async () => {
    const url = await serve((_request, response) => response.end('{"keys":[]}'));
    expect(await fetchJson(url, limits)).toEqual({ keys: [] });
  });

  it('a redirect, an error status, too many bytes, a slow answer or no JSON is refused, and never echoed', async () => {
    const hostile: RequestListener[] = [
      (_request, response) => response.writeHead(302, { location: 'http://127.0.0.1:1/canary' }).end(),
      (_request, response) => response.writeHead(500).end('canary'),
      (_request, response) => response.end('canary'.repeat(1000)),
      (_request, response) => void response.write('canary'),
      (_request, response) => response.end('canary'),
      (request) => request.socket.destroy(),
    ];
    for (const listener of hostile) {
      const error = await fetchJson(await serve(listener), limits).catch((thrown: Error) => thrown);
      expect(error).toBeInstanceOf(Error);
      expect(String(error)).not.toContain('canary');
    }
  });

  it('E1: nothing that is not public is ever connected to', async () => {
    let connections = 0;
    const url = await serve((_request, response) => {
      connections++;
      response.end('{}');
    });
    const { port } = new URL(url);
    const hosted = { ...limits, allowPrivate: false };
    const targets = [
      url,
      `https://127.0.0.1:${port}/`,
      `https://localhost:${port}/`,
      `https://2130706433:${port}/`,
      `https://0x7f.1:${port}/`,
      `https://０:${port}/`,
      `https://0.0.0.0:${port}/`,
      `https://[::1]:${port}/`,
      `https://[::ffff:127.0.0.1]:${port}/`,
      `https://[::ffff:7f00:1]:${port}/`,
      'file:///etc/passwd',
      'ftp://keys.example/',
    ];
    for (const target of targets) await expect(async () => fetchJson(target, hosted)).rejects.toThrow();
    expect(connections).toBe(0);
  });
});

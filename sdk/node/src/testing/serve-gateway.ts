import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import type { TestGateway } from '@sluice/client/testing';
import { type WebSocket, WebSocketServer } from 'ws';

/** Serves the gateway of a test on a free port of 127.0.0.1, to one client at a time. */
export async function serveGateway(gateway: TestGateway): Promise<{ readonly url: string } & AsyncDisposable> {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  server.on('connection', (socket) => join(socket, gateway));
  await once(server, 'listening');
  return {
    // A server that listens on a port has an address with one.
    url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      for (const socket of server.clients) socket.terminate();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function join(socket: WebSocket, gateway: TestGateway): void {
  const inner = gateway.connect();
  // The gateway hands out whole messages as ArrayBuffers, as a browser's socket does.
  inner.onmessage = (event: { readonly data: ArrayBuffer }) => socket.send(event.data);
  socket.on('message', (data: Buffer) => inner.send(new Uint8Array(data)));
  socket.on('close', () => inner.close());
}

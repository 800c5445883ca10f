import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type TcpProxy, tcpProxy } from './tcp-proxy.ts';
import { waitFor } from './wait-for.ts';

let echo: Server;
let proxy: TcpProxy;
let client: Socket;
let received = '';

beforeEach(async () => {
  echo = createServer((socket) => {
    socket.on('error', () => {});
    socket.pipe(socket);
  });
  echo.listen(0, '127.0.0.1');
  await once(echo, 'listening');
  const address = echo.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  proxy = await tcpProxy({ port: address.port, recordBytesMax: 6 });
  client = await open();
});
afterEach(async () => {
  client.destroy();
  await proxy[Symbol.asyncDispose]();
  echo.close();
});

async function open(): Promise<Socket> {
  received = '';
  const socket = connect(proxy.port, '127.0.0.1');
  socket.on('error', () => {});
  socket.on('data', (chunk: Buffer) => {
    received += chunk.toString();
  });
  await once(socket, 'connect');
  return socket;
}

function closed(socket: Socket): Promise<void> {
  // A reset is an error event first; `once` from node:events would throw it.
  socket.on('error', () => {});
  return new Promise((resolve) => socket.once('close', () => resolve()));
}

async function roundTrip(text: string): Promise<void> {
  client.write(text);
  await waitFor(() => received.endsWith(text), { what: `the echo of ${text}` });
}

describe('tcpProxy', () => {
  it('passes bytes both ways, counts all of them and records up to its bound', async () => {
    await roundTrip('hello, world');
    expect(proxy.bytes).toEqual({ toTarget: 12, toClient: 12 });
    expect(proxy.recorded('toTarget').toString()).toBe('hello,');
    expect(proxy.connections).toBe(1);
  });

  it('cutAfter resets in the middle of what is carried, once, and says so', async () => {
    proxy.cutAfter('toTarget', 10);
    await roundTrip('12345678');
    expect(proxy.midwayCuts).toBe(0);
    const gone = closed(client);
    client.write('90abc');
    await gone;
    expect(proxy.midwayCuts).toBe(1);
    client = await open();
    await roundTrip('hello, world');
    proxy.cutAfter('toClient', 1);
    proxy.heal();
    await roundTrip('taken back');
    expect(proxy.midwayCuts).toBe(1);
  });

  it('cut resets both sides, and the next connection works', async () => {
    await roundTrip('a');
    const failed = closed(client);
    proxy.cut();
    await failed;
    client = await open();
    await roundTrip('b');
    expect(proxy.connections).toBe(1);
  });

  it('refuse drops new connections until it is healed', async () => {
    proxy.refuse();
    const refused = connect(proxy.port, '127.0.0.1');
    await closed(refused);
    proxy.heal();
    client = await open();
    await roundTrip('c');
  });

  it('swallow loses one direction silently and keeps the other', async () => {
    await roundTrip('a');
    proxy.swallow('toClient');
    client.write('lost');
    await waitFor(() => proxy.bytes.toClient === 5, { what: 'the echo to arrive at the proxy' });
    expect(received).toBe('a');
    expect(client.destroyed).toBe(false);
  });

  it('stall holds bytes back and heal lets them through, in order', async () => {
    await roundTrip('a');
    proxy.stall();
    await new Promise((resolve) => client.write('b'.repeat(1000), resolve));
    // The bytes have left the client; a second connection's whole round trip to the proxy's port shows time passed there.
    const other = connect(proxy.port, '127.0.0.1');
    await once(other, 'connect');
    other.destroy();
    expect(received).toBe('a');
    expect(proxy.bytes.toTarget).toBe(1);
    proxy.heal();
    await waitFor(() => received.length === 1001, { what: 'the held bytes' });
  });
});

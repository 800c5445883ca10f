import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** A port that leads to any of the gateways that answer, as a load balancer would. */
export interface FrontDoor extends AsyncDisposable {
  readonly port: number;
}

export async function frontDoor(ports: () => readonly number[]): Promise<FrontDoor> {
  const sockets = new Set<Socket>();
  let turn = 0;
  const server = createServer((client) => {
    sockets.add(client);
    client.on('error', () => {});
    client.on('close', () => sockets.delete(client));
    void join(client);
  });
  async function join(client: Socket): Promise<void> {
    const all = ports();
    const first = turn++;
    for (let i = 0; i < all.length; i++) {
      const gateway = await reach(all[(first + i) % all.length] ?? 0);
      if (!gateway) continue;
      sockets.add(gateway);
      gateway.on('error', () => {});
      gateway.on('close', () => {
        sockets.delete(gateway);
        client.destroy();
      });
      client.on('close', () => gateway.destroy());
      client.pipe(gateway).pipe(client);
      return;
    }
    client.destroy();
  }
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port, // A TCP server that listens has one.
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      if (server.listening) await once(server, 'close');
    },
  };
}

async function reach(port: number): Promise<Socket | undefined> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return socket;
  } catch {
    return undefined;
  }
}

import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** A port that leads to any of the gateways that answer, as a load balancer would. */
export interface FrontDoor extends AsyncDisposable {
  readonly port: number;
  /** Connections that lead to the gateway of this port now. */
  connectionsTo(gatewayPort: number): number;
}

export async function frontDoor(ports: () => readonly number[]): Promise<FrontDoor> {
  const sockets = new Set<Socket>();
  const gatewayPorts = new Map<Socket, number>();
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
      const port = all[(first + i) % all.length] ?? 0;
      const gateway = await reach(port);
      if (!gateway) continue;
      sockets.add(gateway);
      gatewayPorts.set(gateway, port);
      gateway.on('error', () => {});
      gateway.on('close', () => {
        sockets.delete(gateway);
        gatewayPorts.delete(gateway);
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
    connectionsTo: (wanted) => [...gatewayPorts.values()].filter((port) => port === wanted).length,
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

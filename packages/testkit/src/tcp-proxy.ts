import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

export type Direction = 'toTarget' | 'toClient';

/** A link whose faults the test controls. Give the client `port` instead of the target's. */
export interface TcpProxy extends AsyncDisposable {
  readonly port: number;
  /** Connections that are open now. */
  readonly connections: number;
  /** Bytes received from each side so far, passed on or not; the key names where they were going. */
  readonly bytes: Readonly<Record<Direction, number>>;
  /** What was received in that direction, when recording; the first `recordBytesMax` bytes. */
  recorded(direction: Direction): Buffer;
  /** Bytes that were received and dropped by `swallow`. */
  readonly bytesSwallowed: number;
  /** Connections that were reset in the middle of what they carried, by `cutAfter`. */
  readonly midwayCuts: number;
  /** Resets every connection (both sides see ECONNRESET); new ones are taken. */
  cut(): void;
  /**
   * Resets every connection when so many more bytes have passed in that direction, together: the one that brings the next
   * byte in the middle of what it carries. Once; `heal` takes it back.
   */
  cutAfter(direction: Direction, bytes: number): void;
  /** Resets new connections at once, too, until `heal`. */
  refuse(): void;
  /** Stops reading from both sides: buffers fill up, nobody is told. */
  stall(): void;
  /** Reads and drops what flows in one direction: half-open, as after a lost route. */
  swallow(direction: Direction): void;
  /** Ends refuse, stall, swallow and cutAfter. Swallowed bytes stay lost, so cut a link that has lost some. */
  heal(): void;
}

export interface TcpProxyOptions {
  readonly port: number;
  readonly host?: string;
  /** Record what passes, at most this much per direction. Default: nothing. */
  readonly recordBytesMax?: number;
}

interface Link {
  readonly client: Socket;
  readonly target: Socket;
}

/** Listens on a free port of 127.0.0.1 and passes every connection on to `target`. */
export async function tcpProxy(target: TcpProxyOptions): Promise<TcpProxy> {
  const links = new Set<Link>();
  const bytes: Record<Direction, number> = { toTarget: 0, toClient: 0 };
  const records: Record<Direction, Buffer[]> = { toTarget: [], toClient: [] };
  const recordedBytes: Record<Direction, number> = { toTarget: 0, toClient: 0 };
  let isRefusing = false;
  let isStalled = false;
  let swallowed: Direction | undefined;
  let bytesSwallowed = 0;
  let midwayCuts = 0;
  let cutPoint: { readonly direction: Direction; bytesLeft: number } | undefined;

  const note = (direction: Direction, chunk: Buffer): void => {
    bytes[direction] += chunk.length;
    const room = (target.recordBytesMax ?? 0) - recordedBytes[direction];
    if (room <= 0) return;
    const kept = chunk.subarray(0, room);
    records[direction].push(kept);
    recordedBytes[direction] += kept.length;
  };
  const pass = (direction: Direction, from: Socket, to: Socket): void => {
    from.on('data', (chunk: Buffer) => {
      note(direction, chunk);
      if (swallowed === direction) {
        bytesSwallowed += chunk.length;
        return;
      }
      if (cutPoint?.direction === direction) {
        if (chunk.length > cutPoint.bytesLeft) {
          cutMidway(to, chunk.subarray(0, cutPoint.bytesLeft));
          return;
        }
        cutPoint.bytesLeft -= chunk.length;
      }
      if (!to.write(chunk)) from.pause();
    });
    to.on('drain', () => {
      if (!isStalled) from.resume();
    });
    from.on('end', () => {
      if (swallowed !== direction) to.end();
    });
  };
  const drop = (link: Link): void => {
    links.delete(link);
    link.client.resetAndDestroy();
    // A socket that is still connecting cannot be reset.
    if (link.target.connecting) link.target.destroy();
    else link.target.resetAndDestroy();
  };

  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    if (isRefusing) {
      client.resetAndDestroy();
      return;
    }
    const upstream = connect({
      port: target.port,
      host: target.host ?? '127.0.0.1',
      allowHalfOpen: true,
      noDelay: true,
    });
    const link: Link = { client, target: upstream };
    links.add(link);
    for (const socket of [client, upstream]) {
      socket.on('error', () => drop(link));
      socket.on('close', () => {
        if (client.destroyed && upstream.destroyed) links.delete(link);
      });
    }
    pass('toTarget', client, upstream);
    pass('toClient', upstream, client);
    if (isStalled) {
      client.pause();
      upstream.pause();
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the proxy has no port');

  const cut = (): void => {
    for (const link of links) drop(link);
  };
  /** What comes before the cut is handed to the system first; it may arrive. */
  const cutMidway = (to: Socket, last: Uint8Array): void => {
    cutPoint = undefined;
    midwayCuts++;
    to.write(last);
    cut();
  };
  const eachSocket = (act: (socket: Socket) => void): void => {
    for (const { client, target: upstream } of links) {
      act(client);
      act(upstream);
    }
  };
  return {
    port: address.port,
    get connections() {
      return links.size;
    },
    bytes,
    get bytesSwallowed() {
      return bytesSwallowed;
    },
    get midwayCuts() {
      return midwayCuts;
    },
    recorded: (direction) => Buffer.concat(records[direction]),
    cut,
    cutAfter(direction, bytesLeft) {
      cutPoint = { direction, bytesLeft };
    },
    refuse() {
      isRefusing = true;
      cut();
    },
    stall() {
      isStalled = true;
      eachSocket((socket) => socket.pause());
    },
    swallow(direction) {
      swallowed = direction;
    },
    heal() {
      isRefusing = false;
      isStalled = false;
      swallowed = undefined;
      cutPoint = undefined;
      eachSocket((socket) => socket.resume());
    },
    async [Symbol.asyncDispose]() {
      cut();
      server.close();
      await once(server, 'close');
    },
  };
}

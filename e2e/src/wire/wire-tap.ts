import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { inflateRawSync } from 'node:zlib';
import { CODEC_DEFLATE_RAW, decodeServerMessage, type ServerMessage } from '@sluice/protocol';
import { messagesIn } from './web-socket-frames.ts';

/** A link between one client and the gateway that keeps every byte that goes to the client. */
export interface WireTap extends AsyncDisposable {
  readonly port: number;
  /** Bytes that went to the client so far. */
  readonly bytesToClient: number;
  /** Every message that went to the client, connection after connection. */
  messages(): ServerMessage[];
  /** Whether the text went to the client, in the open or inside a deflated chunk. */
  holds(text: string): boolean;
  /** Resets every connection; new ones are taken. */
  cut(): void;
  /** Resets every connection and whatever comes, until `heal`. */
  refuse(): void;
  heal(): void;
}

interface Link {
  readonly sockets: readonly [Socket, Socket];
  readonly toClient: Buffer[];
}

/** Listens on a free port of 127.0.0.1 and passes every connection on to the gateway. */
export async function wireTap(gatewayPort: number): Promise<WireTap> {
  const links: Link[] = [];
  let bytesToClient = 0;
  let isRefusing = false;
  const server = createServer({ noDelay: true }, (client) => {
    if (isRefusing) {
      client.resetAndDestroy();
      return;
    }
    const target = connect({ port: gatewayPort, host: '127.0.0.1', noDelay: true });
    const link: Link = { sockets: [client, target], toClient: [] };
    links.push(link);
    target.on('data', (chunk: Buffer) => {
      link.toClient.push(chunk);
      bytesToClient += chunk.length;
    });
    for (const socket of link.sockets) {
      socket.on('error', () => close(link));
      socket.on('close', () => close(link));
    }
    client.pipe(target);
    target.pipe(client);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the tap has no port');

  const messages = (): ServerMessage[] =>
    links.flatMap(({ toClient }) => messagesIn(Buffer.concat(toClient)).map((bytes) => decodeServerMessage(bytes)));
  const cut = (): void => links.forEach(close);
  return {
    port: address.port,
    get bytesToClient() {
      return bytesToClient;
    },
    messages,
    holds(text) {
      const wanted = Buffer.from(text);
      if (links.some(({ toClient }) => Buffer.concat(toClient).includes(wanted))) return true;
      return messages().some((message) => message.type === 'chunk' && payloadOf(message).includes(wanted));
    },
    cut,
    refuse() {
      isRefusing = true;
      cut();
    },
    heal() {
      isRefusing = false;
    },
    async [Symbol.asyncDispose]() {
      cut();
      server.close();
      await once(server, 'close');
    },
  };
}

function close({ sockets }: Link): void {
  for (const socket of sockets) socket.destroy();
}

/** What a chunk holds, uncompressed. */
export function payloadOf({ codec, payload }: Extract<ServerMessage, { type: 'chunk' }>): Buffer {
  return codec === CODEC_DEFLATE_RAW ? inflateRawSync(payload) : Buffer.from(payload);
}

import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import type { Lsn } from '@sluice/domain';
import { sourceConnectionFromUrl } from '@sluice/source-connection';
import { systemClock } from '@sluice/telemetry';
import { expect, it } from 'vitest';
import { WalStream } from './wal-stream.ts';

/** A message of the server: its type, its length with itself, its content (PostgreSQL manual, "Message Formats"). */
function message(type: string, content: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.write(type);
  head.writeUInt32BE(content.length + 4, 1);
  return Buffer.concat([head, content]);
}

it('a server that ends the session in the same breath as it lets us in ends the stream, not the process', async () => {
  const hello = message('R', Buffer.alloc(4));
  const ready = message('Z', Buffer.from('I'));
  const fatal = message('E', Buffer.from('SFATAL\0C57P01\0Mterminating connection\0\0'));
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => socket.end(Buffer.concat([hello, ready, fatal])));
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo; // It listens on a port.
  const stream = new WalStream({
    connection: sourceConnectionFromUrl(`postgres://u:p@127.0.0.1:${port}/d`),
    slot: 's',
    publication: 'p',
    startLsn: 0n as Lsn,
    clock: systemClock,
    walSenderTimeoutMs: 60_000,
    messageBytesMax: 1 << 20,
    confirmed: () => 0n as Lsn,
    sink: { isBehind: false, message() {}, drained() {}, largeBegin() {}, largePart() {}, largeEnd() {} },
  });
  await expect(stream.run(new AbortController().signal)).rejects.toMatchObject({ code: 'SOURCE_UNREACHABLE' });
  server.close();
});

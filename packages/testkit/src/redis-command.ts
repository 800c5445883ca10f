import { connect } from 'node:net';

const LINE_END = '\r\n';

/**
 * Sends one command on a connection of its own and gives its reply: a text, a number, undefined for nothing.
 * @throws Error that Redis answered with, or of the connection
 */
export function redisCommand(port: number, args: readonly string[]): Promise<string | number | undefined> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(encoded(args)));
    let received = Buffer.alloc(0);
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('Redis ended the connection')));
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      const reply = replyIn(received);
      if (!reply) return;
      socket.destroy();
      if (reply.value instanceof Error) reject(reply.value);
      else resolve(reply.value);
    });
  });
}

function encoded(args: readonly string[]): string {
  const parts = args.map((arg) => `$${Buffer.byteLength(arg)}${LINE_END}${arg}${LINE_END}`);
  return `*${args.length}${LINE_END}${parts.join('')}`;
}

/** Undefined until the reply is complete. */
function replyIn(bytes: Buffer): { readonly value: string | number | undefined | Error } | undefined {
  const end = bytes.indexOf(LINE_END);
  if (end < 0) return undefined;
  const line = bytes.toString('utf8', 1, end);
  switch (String.fromCharCode(bytes[0] ?? 0)) {
    case '+':
      return { value: line };
    case ':':
      return { value: Number(line) };
    case '-':
      return { value: new Error(line) };
    case '$': {
      const length = Number(line);
      if (length < 0) return { value: undefined };
      const start = end + LINE_END.length;
      return bytes.length < start + length ? undefined : { value: bytes.toString('utf8', start, start + length) };
    }
    default:
      return { value: new Error(`a reply that is no text and no number: ${line}`) };
  }
}

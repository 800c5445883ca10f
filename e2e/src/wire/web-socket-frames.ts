/** Bytes that one side of a WebSocket connection sent, its HTTP head included, taken apart (RFC 6455, section 5.2). */
export function messagesIn(bytes: Buffer): Buffer[] {
  const headEnd = bytes.indexOf('\r\n\r\n');
  if (headEnd < 0 || !bytes.toString('latin1', 0, 12).startsWith('HTTP/1.1 101')) return [];
  const messages: Buffer[] = [];
  let parts: Buffer[] = [];
  for (let at = headEnd + 4; ; ) {
    const frame = frameAt(bytes, at);
    if (!frame) return messages;
    at = frame.end;
    if (frame.opcode > BINARY) continue;
    parts.push(frame.payload);
    if (!frame.isFinal) continue;
    messages.push(Buffer.concat(parts));
    parts = [];
  }
}

const BINARY = 2;

interface Frame {
  readonly opcode: number;
  readonly isFinal: boolean;
  readonly payload: Buffer;
  readonly end: number;
}

/** Undefined where the bytes end before the frame does. Frames of a server are not masked. */
function frameAt(bytes: Buffer, at: number): Frame | undefined {
  if (at + 2 > bytes.length) return undefined;
  const first = bytes.readUInt8(at);
  const short = bytes.readUInt8(at + 1) & 0x7f;
  const lengthBytes = short === 126 ? 2 : short === 127 ? 8 : 0;
  const start = at + 2 + lengthBytes;
  if (start > bytes.length) return undefined;
  const length =
    lengthBytes === 0 ? short : lengthBytes === 2 ? bytes.readUInt16BE(at + 2) : Number(bytes.readBigUInt64BE(at + 2));
  const end = start + length;
  if (end > bytes.length) return undefined;
  return { opcode: first & 0x0f, isFinal: (first & 0x80) !== 0, payload: bytes.subarray(start, end), end };
}

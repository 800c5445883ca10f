const FINAL_BINARY = 0x82;
/** Up to this size messages are joined into one buffer; above, copying costs more than a second write. Bytes. */
const JOIN_BYTES_MAX = 64 * 1024;

/**
 * Binary messages as unmasked WebSocket frames (RFC 6455, 5.2), ready for the stream. Many connections that are sent the
 * same array share one framing.
 */
export function framed(messages: readonly Uint8Array[]): readonly Uint8Array[] {
  const known = framedByMessages.get(messages);
  if (known) return known;
  const total = messages.reduce((sum, message) => sum + headerBytes(message.length) + message.length, 0);
  const pieces = total <= JOIN_BYTES_MAX ? [joined(messages, total)] : messages.flatMap((m) => [headerOf(m.length), m]);
  framedByMessages.set(messages, pieces);
  return pieces;
}
const framedByMessages = new WeakMap<readonly Uint8Array[], readonly Uint8Array[]>();

function joined(messages: readonly Uint8Array[], total: number): Uint8Array {
  const out = Buffer.allocUnsafe(total);
  let at = 0;
  for (const message of messages) {
    at = writeHeader(out, at, message.length);
    out.set(message, at);
    at += message.length;
  }
  return out;
}
function headerOf(length: number): Uint8Array {
  const out = Buffer.allocUnsafe(headerBytes(length));
  writeHeader(out, 0, length);
  return out;
}
function headerBytes(length: number): number {
  return length < 126 ? 2 : length < 65_536 ? 4 : 10;
}
function writeHeader(out: Buffer, at: number, length: number): number {
  out[at] = FINAL_BINARY;
  if (length < 126) {
    out[at + 1] = length;
    return at + 2;
  }
  if (length < 65_536) {
    out[at + 1] = 126;
    out.writeUInt16BE(length, at + 2);
    return at + 4;
  }
  out[at + 1] = 127;
  out.writeBigUInt64BE(BigInt(length), at + 2);
  return at + 10;
}

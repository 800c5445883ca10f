const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Thrown by ByteReader for truncated, overlong or otherwise impossible input. Carries no input bytes. */
export class MalformedBytesError extends Error {
  override readonly name = 'MalformedBytesError';
}

/** A growing byte buffer, reused between rows. Little endian; varints are LEB128, unsigned. */
export class ByteWriter {
  bytes: Uint8Array<ArrayBuffer>;
  view: DataView<ArrayBuffer>;
  length = 0;

  constructor(capacity = 1024) {
    this.bytes = new Uint8Array(capacity);
    this.view = new DataView(this.bytes.buffer);
  }

  reset(): void {
    this.length = 0;
  }

  /** Makes room for `count` more bytes; views of `bytes` taken earlier may be stale afterwards. */
  reserve(count: number): void {
    const need = this.length + count;
    if (need <= this.bytes.length) return;
    let capacity = this.bytes.length * 2;
    while (capacity < need) capacity *= 2;
    const grown = new Uint8Array(capacity);
    grown.set(this.bytes.subarray(0, this.length));
    this.bytes = grown;
    this.view = new DataView(grown.buffer);
  }

  u8(value: number): void {
    this.reserve(1);
    this.bytes[this.length++] = value;
  }
  u32(value: number): void {
    this.reserve(4);
    this.view.setUint32(this.length, value, true);
    this.length += 4;
  }
  u64(value: bigint): void {
    this.reserve(8);
    this.view.setBigUint64(this.length, value, true);
    this.length += 8;
  }
  f64(value: number): void {
    this.reserve(8);
    this.view.setFloat64(this.length, value, true);
    this.length += 8;
  }
  /** Unsigned LEB128 of an integer up to 2^53 - 1. */
  varint(value: number): void {
    this.reserve(8);
    while (value >= 0x80) {
      this.bytes[this.length++] = (value % 0x80) | 0x80;
      value = Math.floor(value / 0x80);
    }
    this.bytes[this.length++] = value;
  }
  raw(source: Uint8Array, start = 0, end = source.length): void {
    const count = end - start;
    this.reserve(count);
    const out = this.bytes;
    let at = this.length;
    // A call into the engine costs more than a short loop; most cells are short.
    if (count < 64) for (let i = start; i < end; i++) out[at++] = source[i] as number;
    else out.set(source.subarray(start, end), at);
    this.length += count;
  }
  /** varint length, then the bytes. */
  blob(source: Uint8Array): void {
    this.varint(source.length);
    this.raw(source);
  }
  /** varint byte length, then UTF-8. */
  text(value: string): void {
    this.blob(encoder.encode(value));
  }
  /** A copy of what was written. */
  take(): Uint8Array<ArrayBuffer> {
    return this.bytes.slice(0, this.length);
  }
  /** A view of what was written; valid until the next write. */
  written(): Uint8Array<ArrayBuffer> {
    return this.bytes.subarray(0, this.length);
  }
}

/** Reads what ByteWriter wrote. Every method throws MalformedBytesError instead of reading past the end. */
export class ByteReader {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly end: number;
  at: number;

  constructor(bytes: Uint8Array, start = 0, end = bytes.length) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.at = start;
    this.end = end;
  }

  get remaining(): number {
    return this.end - this.at;
  }
  private need(count: number): number {
    const from = this.at;
    if (count < 0 || from + count > this.end) throw new MalformedBytesError('truncated');
    this.at = from + count;
    return from;
  }
  u8(): number {
    return this.bytes[this.need(1)] as number;
  }
  u32(): number {
    return this.view.getUint32(this.need(4), true);
  }
  u64(): bigint {
    return this.view.getBigUint64(this.need(8), true);
  }
  f64(): number {
    return this.view.getFloat64(this.need(8), true);
  }
  varint(): number {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 8; i++) {
      const byte = this.u8();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (byte === 0 && i > 0) throw new MalformedBytesError('overlong varint');
        if (value > Number.MAX_SAFE_INTEGER) throw new MalformedBytesError('varint out of range');
        return value;
      }
      scale *= 0x80;
    }
    throw new MalformedBytesError('varint too long');
  }
  /** Moves past bytes without making a view of them. */
  skip(count: number): void {
    this.need(count);
  }
  /** A view, not a copy. */
  raw(count: number): Uint8Array {
    const from = this.need(count);
    return this.bytes.subarray(from, from + count);
  }
  blob(maxBytes = 0x7fffffff): Uint8Array {
    const count = this.varint();
    if (count > maxBytes) throw new MalformedBytesError('field too long');
    return this.raw(count);
  }
  text(maxBytes = 0x7fffffff): string {
    const bytes = this.blob(maxBytes);
    try {
      return decoder.decode(bytes);
    } catch {
      throw new MalformedBytesError('text is not UTF-8');
    }
  }
  /** @throws MalformedBytesError when bytes are left over. */
  finish(): void {
    if (this.at !== this.end) throw new MalformedBytesError('trailing bytes');
  }
}

const HEX: readonly string[] = Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, '0'));

export function hexFromBytes(bytes: Uint8Array): string {
  let out = '';
  for (let i = 0; i < bytes.length; i++) out += HEX[bytes[i] as number];
  return out;
}
/** @throws MalformedBytesError when the text is not an even number of hexadecimal digits. */
export function parseHex(text: string): Uint8Array<ArrayBuffer> {
  if (text.length % 2 !== 0 || !/^[0-9a-f]*$/i.test(text)) throw new MalformedBytesError('not hexadecimal');
  const out = new Uint8Array(text.length / 2);
  for (let i = 0; i < out.length; i++) out[i] = Number.parseInt(text.slice(i * 2, i * 2 + 2), 16);
  return out;
}

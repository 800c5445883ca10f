/** Builds wire bytes in tests: numbers are big endian, text ends in a zero byte. Not exported by the package. */
export class WireBytes {
  private readonly parts: number[] = [];

  char(letter: string): this {
    this.parts.push(letter.charCodeAt(0));
    return this;
  }
  u8(value: number): this {
    this.parts.push(value & 0xff);
    return this;
  }
  u16(value: number): this {
    return this.u8(value >> 8).u8(value);
  }
  u32(value: number): this {
    return this.u16(value >>> 16).u16(value & 0xffff);
  }
  u64(value: bigint): this {
    return this.u32(Number((value >> 32n) & 0xffffffffn)).u32(Number(value & 0xffffffffn));
  }
  raw(bytes: Iterable<number>): this {
    for (const byte of bytes) this.parts.push(byte);
    return this;
  }
  text(value: string): this {
    return this.raw(new TextEncoder().encode(value)).u8(0);
  }
  /** TupleData: null is NULL, undefined an unchanged TOAST value. */
  tuple(values: readonly (string | null | undefined)[]): this {
    this.u16(values.length);
    for (const value of values) {
      if (value === null) this.char('n');
      else if (value === undefined) this.char('u');
      else {
        const bytes = new TextEncoder().encode(value);
        this.char('t').u32(bytes.length).raw(bytes);
      }
    }
    return this;
  }
  take(): Uint8Array<ArrayBuffer> {
    return Uint8Array.from(this.parts);
  }
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

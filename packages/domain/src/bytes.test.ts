import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ByteReader, ByteWriter, MalformedBytesError, parseHex } from './bytes.ts';

describe('bytes', () => {
  it('a varint comes back as it went in, for every safe integer', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (value) => {
        const out = new ByteWriter(1);
        out.varint(value);
        const reader = new ByteReader(out.take());
        expect(reader.varint()).toBe(value);
        reader.finish();
      }),
    );
  });

  it.each(['', '80', '8000', 'ffffffffffffffffff01', 'ffffffffffffff7f'.padEnd(18, 'f')])(
    'varint %s (truncated, overlong or too large) is a typed error',
    (hex) => {
      expect(() => new ByteReader(parseHex(hex)).varint()).toThrow(MalformedBytesError);
    },
  );

  it('a writer that starts small keeps what it holds as it grows', () => {
    const out = new ByteWriter(1);
    const long = new Uint8Array(1000).fill(7);
    out.u8(1);
    out.blob(long);
    out.text('\ufeffé');
    out.u64(2n ** 64n - 1n);
    const reader = new ByteReader(out.written());
    expect(reader.u8()).toBe(1);
    expect(reader.blob()).toEqual(long);
    expect(reader.text()).toBe('\ufeffé');
    expect(reader.u64()).toBe(2n ** 64n - 1n);
    reader.finish();
  });

  it('a length beyond the input or the bound is refused before anything is read', () => {
    const out = new ByteWriter();
    out.varint(10);
    expect(() => new ByteReader(out.take()).blob()).toThrow(MalformedBytesError);
    out.raw(new Uint8Array(10));
    expect(() => new ByteReader(out.take()).blob(9)).toThrow(MalformedBytesError);
    expect(() => new ByteReader(out.take()).finish()).toThrow(MalformedBytesError);
  });
});

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ByteReader, ByteWriter, hexFromBytes, MalformedBytesError, parseHex } from './bytes.ts';
import { type CellValue, readCell, skipCell, writeCell } from './cells.ts';

function encoded(value: CellValue): Uint8Array {
  const out = new ByteWriter(1);
  writeCell(out, value);
  return out.take();
}

describe('cell encoding, version 1 (L8)', () => {
  /** A changed line here is a changed stored format: raise CELL_ENCODING_VERSION. */
  it.each<[CellValue, string]>([
    [null, '00'],
    [0, '08'],
    [1, '09'],
    [2, '0102'],
    [-1, '01ff'],
    [127, '017f'],
    [128, '028000'],
    [-32768, '020080'],
    [32768, '0300800000'],
    [-2147483648, '0300000080'],
    [2147483648, '040000008000000000'],
    [9223372036854775807n, '04ffffffffffffff7f'],
    [-9223372036854775808n, '040000000000000080'],
    [1.5, '05000000000000f83f'],
    [-0, '050000000000000080'],
    ['', '80'],
    ['é', '82c3a9'],
    ['x'.repeat(0x5f), `df${'78'.repeat(0x5f)}`],
    ['x'.repeat(0x60), `0660${'78'.repeat(0x60)}`],
    [new Uint8Array([0, 255]), '070200ff'],
  ])('L8: %s stands as %s', (value, hex) => {
    expect(hexFromBytes(encoded(value))).toBe(hex);
  });

  it('L8: every value comes back as it went in, and skipping ends where reading ends', () => {
    const value = fc.oneof(
      fc.constant(null),
      fc.maxSafeInteger(),
      fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n),
      fc.double({ noNaN: true }),
      fc.string({ unit: 'grapheme', maxLength: 200 }),
      fc.uint8Array({ maxLength: 200 }),
    );
    fc.assert(
      fc.property(value, (original) => {
        const bytes = encoded(original);
        const reader = new ByteReader(bytes);
        const back = readCell(reader);
        reader.finish();
        if (original instanceof Uint8Array) expect(back).toEqual(original);
        else if (typeof original === 'bigint') expect(BigInt(back as bigint)).toBe(original);
        else expect(Object.is(back, original)).toBe(true);
        const skipper = new ByteReader(bytes);
        skipCell(skipper);
        skipper.finish();
      }),
    );
  });

  it.each(['', '01', '0200', '03000000', '0400', '05', '06', '0605', '0a', 'e0', 'ff', '81', '82c3', '81ff'])(
    'malformed cell %s is a typed error',
    (hex) => {
      expect(() => readCell(new ByteReader(parseHex(hex)))).toThrow(MalformedBytesError);
    },
  );
});

import { ByteReader, ByteWriter, skipCell } from '@sluice/domain';
import { isAppError } from '@sluice/errors';
import { seededRandom } from '@sluice/testkit';
import { expect, test } from 'vitest';
import { cellEncoderFor } from './cell-encoder.ts';
import { PG_TYPE } from './type-oids.ts';

const random = seededRandom();
const utf8 = new TextEncoder();
const samples = ['t', 'f', '-9223372036854775808', '1.7976931348623157e+308', '-0', 'NaN', '\\x00ff', 'infinity']
  .concat(['2024-03-10 02:30:00.123456+00 BC', '1e-05', ''])
  .map((text) => utf8.encode(text));

test(`L6: any bytes for any type give exactly one cell or SOURCE_VALUE (seed ${random.seed})`, () => {
  const types = Object.values(PG_TYPE);
  const out = new ByteWriter();
  for (let round = 0; round < 60_000; round++) {
    const bytes = hostile(random.pick(samples));
    out.reset();
    try {
      cellEncoderFor(random.pick(types))(bytes, 0, bytes.length, out);
    } catch (error) {
      if (!isAppError(error, 'SOURCE_VALUE')) throw error;
      continue;
    }
    const cell = new ByteReader(out.written());
    skipCell(cell);
    cell.finish();
  }
  expect(out.bytes.length, 'what one cell may allocate').toBeLessThanOrEqual(1024);
});

function hostile(sample: Uint8Array): Uint8Array {
  if (random.chance(0.2)) return random.bytes(random.int(0, 40));
  const bytes = Uint8Array.from(sample);
  for (let flips = random.int(0, 3); flips > 0 && bytes.length > 0; flips--)
    bytes[random.int(0, bytes.length - 1)] = random.pick([
      0,
      0x2d,
      0x30,
      0x39,
      0x2e,
      0x65,
      0x5c,
      0xff,
      random.int(0, 255),
    ]);
  return random.chance(0.3) ? bytes.subarray(0, random.int(0, bytes.length)) : bytes;
}

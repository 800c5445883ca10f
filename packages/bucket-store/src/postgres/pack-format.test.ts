import type { BucketId, Lsn, StreamNo } from '@sluice/domain';
import { CODEC_STORED } from '@sluice/protocol';
import { type SeededRandom, seededRandom } from '@sluice/testkit';
import { describe, expect, test } from 'vitest';
import type { StoredChunk } from '../port.ts';
import { contentOf, openBody, PACK_FORMAT, type Pack, packsOf } from './pack-format.ts';

function chunkOf(random: SeededRandom, bytes: number): StoredChunk {
  const bucket = Array.from({ length: 4 }, () => random.int(0x10000000, 0x7fffffff).toString(16)).join('') as BucketId;
  const digits = Array.from({ length: bytes / 8 }, () => random.int(0x10000000, 0x7fffffff).toString(16));
  const payload = Buffer.from(digits.join(''));
  return {
    ...{ stream: 1 as StreamNo, bucket, position: { lsn: 7n as Lsn, seq: 0 }, part: 0, ops: 1, rowsDelta: 1 },
    ...{
      checksumDelta: 5n,
      codec: CODEC_STORED,
      payloadBytes: payload.length,
      directory: Buffer.from('head'),
      payload,
    },
  };
}
const reopened = ({ chunks, body }: Pack) => {
  const open = openBody(PACK_FORMAT.deflateRaw, body);
  return chunks.map(({ chunk: { bucket, directory, payload }, start }) => ({
    bucket,
    ...contentOf(open, { start, directoryBytes: directory.length, storedBytes: payload.length }),
  }));
};

describe('packs', () => {
  test('what is packed comes out as it went in, ascending by bucket, in packs that are bounded and about equally full', async () => {
    const random = seededRandom();
    for (let round = 0; round < 10; round++) {
      const chunks = Array.from({ length: random.int(1, 300) }, () => chunkOf(random, random.int(0, 600)));
      const packs = await packsOf(chunks);
      const expected = [...chunks]
        .sort((a, b) => (a.bucket < b.bucket ? -1 : 1))
        .map(({ bucket, directory, payload }) => ({ bucket, directory, payload }));
      expect(packs.flatMap(reopened)).toEqual(expected);
      const counts = packs.map((pack) => pack.chunks.length);
      expect(Math.max(...counts)).toBeLessThanOrEqual(64);
      if (packs.length > 1) expect(Math.min(...counts)).toBeGreaterThan(8);
    }
  });

  test('text that does not repeat takes much less room, as it has few letters', async () => {
    const random = seededRandom();
    const chunks = Array.from({ length: 64 }, () => chunkOf(random, 200));
    const [pack] = await packsOf(chunks);
    expect(pack?.body.length).toBeLessThan(64 * 204 * 0.65);
  });

  test('L17: a pack that is cut off, of another format, or too short for its chunks is an error, never less of a row', async () => {
    const random = seededRandom();
    const [pack] = await packsOf(Array.from({ length: 20 }, () => chunkOf(random, 100)));
    if (!pack) throw new Error('there is a pack');
    expect(() => openBody(PACK_FORMAT.deflateRaw, pack.body.subarray(0, 100))).toThrow('cannot be inflated');
    expect(() => openBody(2, pack.body)).toThrow('unknown format');
    const open = openBody(PACK_FORMAT.deflateRaw, pack.body);
    const beyond = { start: open.length - 3, directoryBytes: 2, storedBytes: 2 };
    expect(() => contentOf(open, beyond)).toThrow('outside its pack');
    expect(openBody(PACK_FORMAT.stored, pack.body)).toBe(pack.body);
  });
});

import { seededRandom } from '@sluice/testkit';
import { describe, expect, it } from 'vitest';
import { CopyBothReader } from './copy-both-reader.ts';

const payloadBytesMax = 1000;

function message(type: string, payload: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.write(type, 'latin1');
  head.writeInt32BE(payload.length + 4, 1);
  return Buffer.concat([head, payload]);
}

/** Reads chunks and says what came, with the bytes copied. */
function read(chunks: readonly Buffer[]): string[] {
  const seen: string[] = [];
  let large: Buffer[] = [];
  const reader = new CopyBothReader(payloadBytesMax, {
    copyData: (source, view, start, end) => {
      expect(view.getUint8(start)).toBe(source[start]);
      seen.push(`d ${Buffer.from(source.subarray(start, end)).toString('hex')}`);
    },
    largeBegin: (bytes) => seen.push(`large ${bytes}`),
    largePart: (source, start, end) => large.push(Buffer.from(source.subarray(start, end))),
    largeEnd: () => {
      seen.push(`end ${Buffer.concat(large).toString('hex')}`);
      large = [];
    },
    other: (bytes) => seen.push(`other ${bytes.toString('hex')}`),
  });
  for (const chunk of chunks) {
    reader.push(chunk);
    // The socket may use its buffer again.
    chunk.fill(0xee);
  }
  return seen;
}

describe('CopyBothReader', () => {
  it('gives the same messages however the bytes are cut', () => {
    const random = seededRandom();
    for (let round = 0; round < 200; round++) {
      const messages = Array.from({ length: random.int(1, 12) }, () => {
        const bytes = random.pick([1, 2, random.int(1, 900), random.int(1001, 5000)]);
        const type = random.chance(0.8) ? 'd' : 'N';
        return message(type, Buffer.from(random.bytes(bytes)));
      });
      const all = Buffer.concat(messages);
      const whole = read([Buffer.from(all)]);
      const chunks: Buffer[] = [];
      for (let at = 0; at < all.length; ) {
        const end = Math.min(all.length, at + random.pick([1, 2, random.int(1, 100), random.int(1, 3000)]));
        chunks.push(Buffer.from(all.subarray(at, end)));
        at = end;
      }
      expect(read(chunks)).toEqual(whole);
    }
  });

  it('hands a payload beyond the bound over in parts, without holding it', () => {
    const payload = Buffer.alloc(payloadBytesMax + 1, 7);
    expect(read([message('d', payload)])).toEqual([`large ${payload.length}`, `end ${payload.toString('hex')}`]);
  });

  it('refuses lengths that no server sends before it buffers anything', () => {
    const claim = (type: string, length: number): Buffer => {
      const head = message(type, Buffer.alloc(0));
      head.writeInt32BE(length, 1);
      return head;
    };
    for (const [type, length] of [
      ['d', 3],
      ['d', -1],
      ['E', 0x7fffffff],
    ] as const) {
      expect(() => read([claim(type, length)])).toThrow(/SOURCE_PROTOCOL/);
    }
    expect(read([claim('d', 0x7fffffff)])).toEqual([`large ${0x7fffffff - 4}`]);
  });
});

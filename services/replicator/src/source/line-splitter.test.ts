import { seededRandom } from '@sluice/testkit';
import { describe, expect, it } from 'vitest';
import { LineSplitter } from './line-splitter.ts';

function split(text: string, cuts: readonly number[], lineBytesMax: number): string[] {
  const seen: string[] = [];
  const splitter = new LineSplitter(lineBytesMax, {
    line: (source, start, end) => seen.push(Buffer.from(source.subarray(start, end)).toString()),
    oversizedLine: () => seen.push('too long'),
  });
  let at = 0;
  for (const cut of [...cuts, text.length]) {
    const chunk = Buffer.from(text.slice(at, cut));
    // Whatever stands beside it in its buffer is not a part of it.
    const buffer = Buffer.concat([Buffer.from('a\n'), chunk, Buffer.from('z\n')]);
    splitter.push(buffer, 2, buffer.length - 2);
    buffer.fill(0xee);
    at = cut;
  }
  splitter.finish();
  return seen;
}

describe('LineSplitter', () => {
  it('gives the same lines however the bytes are cut', () => {
    const random = seededRandom();
    for (let round = 0; round < 300; round++) {
      const lines = Array.from({ length: random.int(0, 8) }, () => 'x'.repeat(random.int(0, 40)));
      const text = lines.map((line) => `${line}\n`).join('');
      const cuts = Array.from({ length: random.int(0, 9) }, () => random.int(0, text.length)).sort((a, b) => a - b);
      expect(split(text, cuts, 1000)).toEqual(lines);
    }
  });

  it('passes a line that does not fit, once, and goes on with the next', () => {
    expect(split(`${'x'.repeat(50)}\nshort\n`, [10, 20, 30], 15)).toEqual(['too long', 'short']);
  });

  it('refuses a copy that ends within a line', () => {
    expect(() => split('whole\nhalf', [], 100)).toThrow(/SOURCE_PROTOCOL/);
  });
});

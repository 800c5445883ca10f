import { ByteWriter, type Lsn, MalformedBytesError } from '@sluice/domain';
import { describe, expect, it } from 'vitest';
import { appendDirectoryEntry, forEachDirectoryEntry, forEachOp, readDirectory, writeDirectoryHead } from './chunk.ts';
import { samplePayload } from './samples.fixture.ts';

function sampleDirectory(): Uint8Array {
  const out = new ByteWriter(64);
  writeDirectoryHead(out, 2, 1000n as Lsn);
  appendDirectoryEntry(out, { hashLo: 0xffffffff, hashHi: 1, lsnDelta: 0, seq: 65_536, keyBytes: 3 });
  appendDirectoryEntry(out, { hashLo: 2, hashHi: 0x80000000, lsnDelta: 2 ** 40, seq: 2 ** 48 - 1, keyBytes: 9 });
  return out.take();
}

describe('chunks', () => {
  it('a payload is a run of ops, each with its body in place', () => {
    const seen: number[][] = [];
    const count = forEachOp(samplePayload(), (kind, start, end) => seen.push([kind, end - start]));
    expect([count, seen]).toEqual([
      2,
      [
        [1, 32],
        [0, 2],
      ],
    ]);
  });

  it('a directory says for each op which row, when, and how long its key is', () => {
    expect(readDirectory(sampleDirectory())).toEqual([
      { keyHash: 0x1ffffffffn, position: { lsn: 1000n, seq: 65_536 }, keyBytes: 3 },
      { keyHash: 0x8000000000000002n, position: { lsn: 1000n + 2n ** 40n, seq: 2 ** 48 - 1 }, keyBytes: 9 },
    ]);
    const seen: number[][] = [];
    forEachDirectoryEntry(sampleDirectory(), (lo, hi, keyBytes, index) => seen.push([lo, hi, keyBytes, index]));
    expect(seen).toEqual([
      [0xffffffff, 1, 3, 0],
      [2, 0x80000000, 9, 1],
    ]);
  });

  it('every truncation of either is refused, or ends between two ops', () => {
    const payload = samplePayload();
    for (let length = 1; length < payload.length; length++) {
      if (length === 34) continue;
      expect(() => forEachOp(payload.subarray(0, length), () => {})).toThrow(MalformedBytesError);
    }
    const directory = sampleDirectory();
    for (let length = 0; length < directory.length; length++) {
      expect(() => readDirectory(directory.subarray(0, length))).toThrow(MalformedBytesError);
      expect(() => forEachDirectoryEntry(directory.subarray(0, length), () => {})).toThrow(MalformedBytesError);
    }
  });

  it('an unknown op kind or chunk version is refused', () => {
    expect(() => forEachOp(new Uint8Array([2, 0]), () => {})).toThrow('unknown op kind');
    expect(() => forEachDirectoryEntry(new Uint8Array([2, 0]), () => {})).toThrow('unknown chunk version');
  });
});

import { createHash } from 'node:crypto';
import {
  barrierAt,
  type Epoch,
  type LeaseToken,
  type Lsn,
  MalformedBytesError,
  type ProjectId,
  type StreamNo,
} from '@sluice/domain';
import { describe, expect, test } from 'vitest';
import { FRAME_VERSION, type Frame, type SnapshotFrame, type StreamFrame } from './frame.ts';
import { decodeFrame, encodeFrame } from './frame-codec.ts';

const stream: StreamFrame = {
  kind: 'stream',
  project: 7 as ProjectId,
  epoch: 3 as Epoch,
  shard: 2,
  mapVersion: 300,
  leaseToken: 0x1_0000_0001n as LeaseToken,
  prev: { lsn: 0x10n as Lsn, seq: 65536 },
  end: barrierAt(0x16_b374_d848n as Lsn),
  endLsn: 0x16_b374_d878n as Lsn,
  committedAtMs: 1_893_456_000_123,
  changes: Uint8Array.of(1, 2, 3),
};
const snapshot: SnapshotFrame = {
  kind: 'snapshot',
  project: 7 as ProjectId,
  epoch: 3 as Epoch,
  shard: 0,
  leaseToken: 5n as LeaseToken,
  streams: [1, 200] as StreamNo[],
  pointLsn: 0x99n as Lsn,
  schema: 'public',
  table: 'Größe"',
  part: 4,
  last: true,
  changes: new Uint8Array(0),
};
const samples: readonly Frame[] = [stream, snapshot];

describe('frame codec', () => {
  test.each(samples)('a $kind frame comes back as it went', (frame) => {
    expect(decodeFrame(encodeFrame(frame))).toEqual(frame);
  });

  test('the stored form is that of version 2; another form needs another FRAME_VERSION', () => {
    const digest = createHash('sha256');
    for (const frame of samples) digest.update(encodeFrame(frame));
    expect([FRAME_VERSION, digest.digest('hex')]).toEqual([
      2,
      '88221d55993229fd1db7f230d835961eb7bbf4901e0fc810ba482cbfe0219b71',
    ]);
  });

  test('bytes of another version, kind or range are refused', () => {
    const good = encodeFrame(stream);
    for (const [at, byte] of [
      [0, FRAME_VERSION + 1],
      [1, 3],
      [2, 0],
    ] as const) {
      const bad = good.slice();
      bad[at] = byte;
      expect(() => decodeFrame(bad)).toThrow(MalformedBytesError);
    }
  });

  test('every truncation and every changed byte gives a frame or MalformedBytesError, and nothing else', () => {
    for (const frame of samples) {
      const good = encodeFrame(frame);
      for (let length = 0; length < good.length; length++) expectFrameOrMalformed(good.subarray(0, length));
      for (let at = 0; at < good.length; at++)
        for (const byte of [0, 1, 0x7f, 0x80, 0xff]) {
          const bad = good.slice();
          bad[at] = byte;
          expectFrameOrMalformed(bad);
        }
    }
  });
});

function expectFrameOrMalformed(bytes: Uint8Array): void {
  try {
    expect(decodeFrame(bytes).kind).toMatch(/^(stream|snapshot)$/);
  } catch (error) {
    expect(error).toBeInstanceOf(MalformedBytesError);
  }
}

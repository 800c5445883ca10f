import { lsnFromBigint } from '@sluice/domain';
import { describe, expect, test } from 'vitest';
import { CopyDataFrame, FRAME, formatStandbyStatus, readCopyData } from './copy-data.ts';
import { pgUsFromUnixMs, unixMsFromPgUs } from './pg-time.ts';
import { viewOf, WireBytes } from './testing-bytes.ts';

function read(bytes: Uint8Array): CopyDataFrame {
  const frame = new CopyDataFrame();
  readCopyData(bytes, viewOf(bytes), 0, bytes.length, frame);
  return frame;
}

describe('replication frames', () => {
  test('a WAL frame gives its message in place and its LSNs exactly', () => {
    const frame = read(
      new WireBytes().char('w').u64(0x1_00000002n).u64(0x7fffffff_ffffffffn).u64(3n).raw([9, 9]).take(),
    );
    expect([frame.kind, frame.messageStart, frame.messageEnd]).toEqual([FRAME.xlogData, 25, 27]);
    expect([frame.walStart, frame.walEnd]).toEqual([0x1_00000002n, 0x7fffffff_ffffffffn]);
  });

  test('a keepalive gives the WAL end and whether it wants an answer', () => {
    const frame = read(new WireBytes().char('k').u64(0xabcdef_80000000n).u64(3n).u8(1).take());
    expect([frame.kind, frame.walEnd, frame.replyRequested]).toEqual([FRAME.keepalive, 0xabcdef_80000000n, true]);
    expect(frame.messageStart).toBe(frame.messageEnd);
    expect(read(new WireBytes().char('k').u64(1n).u64(3n).u8(0).take()).replyRequested).toBe(false);
  });

  test('L2: a standby status carries the three LSNs as given and microseconds since 2000', () => {
    const status = formatStandbyStatus({
      written: lsnFromBigint(0x1_00000003n),
      flushed: lsnFromBigint(0x1_00000002n),
      applied: lsnFromBigint(0x1_00000001n),
      replyNowMs: Date.UTC(2000, 0, 2),
      replyRequested: true,
    });
    const expected = new WireBytes().char('r').u64(0x1_00000003n).u64(0x1_00000002n).u64(0x1_00000001n);
    expect(status).toEqual(expected.u64(86_400_000_000n).u8(1).take());
  });

  test('times go to Postgres microseconds and back', () => {
    expect(pgUsFromUnixMs(Date.UTC(2000, 0, 1))).toBe(0n);
    expect(pgUsFromUnixMs(Date.UTC(1999, 11, 31, 23, 59, 59, 999))).toBe(-1000n);
    expect(unixMsFromPgUs(-1n)).toBe(Date.UTC(2000, 0, 1) - 1);
    const now = Date.UTC(2031, 6, 4, 5, 6, 7, 89);
    expect(unixMsFromPgUs(pgUsFromUnixMs(now))).toBe(now);
  });

  test.each([
    ['nothing', new WireBytes()],
    ['another letter', new WireBytes().char('x').raw(new Uint8Array(40))],
    ['a short WAL header', new WireBytes().char('w').raw(new Uint8Array(23))],
    ['a short keepalive', new WireBytes().char('k').raw(new Uint8Array(16))],
    ['a long keepalive', new WireBytes().char('k').raw(new Uint8Array(18))],
    ['an LSN above 2^63', new WireBytes().char('w').u64(-1n).u64(0n).u64(0n)],
    ['a reply flag of 2', new WireBytes().char('k').u64(1n).u64(0n).u8(2)],
  ])('L6: %s is SOURCE_PROTOCOL', (_, wire) => {
    expect(() => read(wire.take())).toThrow('SOURCE_PROTOCOL');
  });
});

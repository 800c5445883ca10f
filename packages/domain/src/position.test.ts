import { describe, expect, it } from 'vitest';
import {
  barrierAt,
  comparePositions,
  formatLsn,
  formatPosition,
  isBarrier,
  lsnFromBigint,
  parseLsn,
  SEQ_PER_ORDINAL,
} from './position.ts';

describe('positions (L1)', () => {
  it('L1: LSNs compare as numbers, not as text', () => {
    expect(parseLsn('9/0') < parseLsn('10/0')).toBe(true);
    expect(formatLsn(parseLsn('16/B374D848'))).toBe('16/B374D848');
  });

  it.each(['', '1', '1/', '/1', '1/2/3', 'g/0', '123456789/0', '1/0 '])('%j is not an LSN', (text) => {
    expect(() => parseLsn(text)).toThrow(RangeError);
  });

  it('L4: a barrier stands after every op of its commit and before the next commit', () => {
    const commit = lsnFromBigint(100n);
    const lastOp = { lsn: commit, seq: 0xffffffff * SEQ_PER_ORDINAL + 0xffff };
    const barrier = barrierAt(commit);
    expect(comparePositions(lastOp, barrier)).toBeLessThanOrEqual(0);
    expect(comparePositions(barrier, { lsn: lsnFromBigint(101n), seq: 0 })).toBeLessThan(0);
    expect(isBarrier(barrier)).toBe(true);
    expect(formatPosition(barrier)).toBe('0/64:inf');
  });
});

import { describe, expect, it } from 'vitest';
import { formatTotals, totalsOf } from './test-totals.mjs';

const report = { numPassedTests: 3, numFailedTests: 0, numPendingTests: 0, numTodoTests: 0, testResults: [] };

describe('totalsOf', () => {
  it('never calls a run passed that failed as a whole', () => {
    expect(totalsOf(report, true)).toEqual({ passed: 3, failed: 1, skipped: 0 });
    expect(totalsOf(undefined, true).failed).toBe(1);
    expect(totalsOf(undefined, false).failed).toBe(1);
  });

  it('counts a file that could not be loaded as a failure, once', () => {
    const broken = { name: 'a.test.ts', status: 'failed', assertionResults: [] };
    const failing = { name: 'b.test.ts', status: 'failed', assertionResults: [{}] };
    const totals = totalsOf({ ...report, numFailedTests: 1, testResults: [broken, failing] }, true);
    expect(totals).toEqual({ passed: 3, failed: 2, skipped: 0 });
  });

  it('counts skipped and planned tests apart from passed ones', () => {
    expect(totalsOf({ ...report, numPendingTests: 1, numTodoTests: 1 }, false).skipped).toBe(2);
  });
});

describe('formatTotals', () => {
  it('names skipped tests only when there are any', () => {
    expect(formatTotals({ passed: 3, failed: 0, skipped: 0 })).toBe('3 passed, 0 failed');
    expect(formatTotals({ passed: 3, failed: 1, skipped: 2 })).toBe('3 passed, 1 failed, 2 skipped');
  });
});

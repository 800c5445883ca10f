/** Counts what vitest's JSON report says. */

/**
 * @typedef {{ numPassedTests: number, numFailedTests: number, numPendingTests: number, numTodoTests: number,
 *   testResults: { name: string, status: string, assertionResults: unknown[] }[] }} VitestReport
 * @typedef {{ passed: number, failed: number, skipped: number }} Totals
 */

/**
 * A file that could not be loaded has no tests to fail, so it counts as one failure of its own; so does a run that failed
 * as a whole (an unhandled error, a broken set-up) though every test passed.
 * @param {VitestReport | undefined} report undefined when the run ended before it wrote one
 * @param {boolean} isRunFailed
 * @returns {Totals}
 */
export function totalsOf(report, isRunFailed) {
  if (!report) return { passed: 0, failed: 1, skipped: 0 };
  const unloadable = report.testResults.filter(
    ({ status, assertionResults }) => status === 'failed' && assertionResults.length === 0,
  );
  const failed = report.numFailedTests + unloadable.length;
  return {
    passed: report.numPassedTests,
    failed: failed === 0 && isRunFailed ? 1 : failed,
    skipped: report.numPendingTests + report.numTodoTests,
  };
}

/** @param {Totals} totals */
export function formatTotals({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`;
}

/**
 * `npm test`: every test there is; `npm run test:long` with the lengthened random and fault runs. Other arguments go to
 * vitest (`npm test -- --project pg packages/op-queue`). The last line is the total.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { installIfMissing, runBin, runNode, StepFailed, timed } from './repository.mjs';
import { formatTotals, totalsOf } from './test-totals.mjs';

const args = process.argv.slice(2);
const isLong = args.includes('--long');
const vitestArgs = args.filter((arg) => arg !== '--long');

const totals = await runAll().catch((error) => {
  console.error(error instanceof StepFailed ? `✗ ${error.message}` : error);
  return { passed: 0, failed: 1, skipped: 0 };
});
if (totals.passed + totals.failed === 0) console.error('✗ no test ran');
console.log(formatTotals(totals));
process.exitCode = totals.failed > 0 || totals.passed === 0 ? 1 : 0;

async function runAll() {
  await installIfMissing();
  await timed('build', () => runNode('scripts/build.mjs', ['--demo'], { quiet: true }));
  await timed('tools', () => runNode('scripts/setup-tools.mjs', isLong ? ['--all'] : [], { quiet: true }));
  const folder = mkdtempSync(path.join(tmpdir(), 'sluice-report-'));
  try {
    return await runVitest(path.join(folder, 'report.json'));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** @param {string} reportFile */
async function runVitest(reportFile) {
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${reportFile}`];
  const env = isLong ? { SLUICE_LANE: 'long' } : {};
  const isRunFailed = await runBin('vitest', ['run', ...reporters, ...vitestArgs], { env }).then(
    () => false,
    (error) => {
      if (error instanceof StepFailed) return true;
      throw error;
    },
  );
  return totalsOf(readReport(reportFile), isRunFailed);
}

/** @param {string} file */
function readReport(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}

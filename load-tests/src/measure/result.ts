import { execFileSync } from 'node:child_process';
import { cpus, totalmem } from 'node:os';
import type { Calibration } from './calibration.ts';

export interface BenchResult {
  readonly bench: string;
  readonly figures: Readonly<Record<string, number>>;
  readonly baseline: Readonly<Record<string, number>>;
  readonly ratio: Readonly<Record<string, number>>;
}

/** The last line that a bench prints: one JSON object. Numbers are rounded to four significant digits. */
export function formatResult(result: BenchResult, calibration: Calibration): string {
  return JSON.stringify(
    {
      ...result,
      machine: {
        cpu: cpus()[0]?.model ?? 'unknown',
        cores: cpus().length,
        memoryGb: Math.round(totalmem() / 2 ** 30),
        node: process.version,
        calibrationMs: calibration.loopMs,
        loadAverage: calibration.loadAverage,
        noisy: calibration.noisy,
      },
      commit: currentCommit(),
    },
    (_key, value: unknown) => (typeof value === 'number' ? Number(value.toPrecision(4)) : value),
  );
}

function currentCommit(): string {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    return 'unknown'; // Not a git checkout: an unpacked archive can be measured too.
  }
}

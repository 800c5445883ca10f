import { loadavg } from 'node:os';
import { median } from './statistics.ts';

/** Milliseconds that the loop below took on the machine of docs/performance.md when nothing else ran. */
export const CALIBRATION_REFERENCE_MS = 50;
/** A run whose loop took longer than this many times the reference is marked noisy. */
export const NOISY_FROM = 1.3;

export interface Calibration {
  readonly loopMs: number;
  readonly loadAverage: number;
  readonly noisy: boolean;
}

/** A fixed amount of integer work, so that a slow or shared machine shows beside the figures. Median of five. */
export function calibrate(): Calibration {
  const times = Array.from({ length: 5 }, () => {
    const startMs = performance.now();
    let state = 1;
    for (let i = 0; i < 40_000_000; i++) state = (Math.imul(state, 1664525) + 1013904223) | 0;
    if (state === 0) throw new Error('unreachable: the generator never gives 0 here');
    return performance.now() - startMs;
  });
  const loopMs = median(times);
  return { loopMs, loadAverage: loadavg()[0] ?? 0, noisy: loopMs > NOISY_FROM * CALIBRATION_REFERENCE_MS };
}

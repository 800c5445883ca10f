import { describe, expect, it } from 'vitest';
import { median, quantile } from './statistics.ts';

describe('statistics of the benches', () => {
  it('the median of an even count is the mean of the two middle values, whatever the order', () => {
    expect(median([9, 1, 3, 5])).toBe(4);
    expect(median([7])).toBe(7);
  });
  it('quantiles interpolate between the nearest ranks', () => {
    expect(quantile([0, 10, 20, 30, 40], 0.99)).toBeCloseTo(39.6);
    expect(quantile([0, 10], 0.25)).toBe(2.5);
  });
  it('no values have no median', () => {
    expect(() => median([])).toThrow(RangeError);
  });
});

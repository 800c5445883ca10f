import { describe, expect, it } from 'vitest';
import { initialWindow, windowAfterApplied } from './window.ts';

function after(delaysMs: readonly number[], sizeMax = 64) {
  return delaysMs.reduce((window, tookMs) => windowAfterApplied(window, tookMs, sizeMax), initialWindow);
}

describe('how many checkpoints may be under way', () => {
  it('grows to its bound while acknowledgements come as fast as ever, however far away the client is', () => {
    expect(after(Array.from({ length: 100 }, () => 100)).size).toBe(64);
    expect(after(Array.from({ length: 100 }, () => 2)).size).toBe(64);
  });
  it('shrinks to few when they queue at the client', () => {
    const { size } = after([...Array.from({ length: 100 }, () => 5), ...Array.from({ length: 100 }, () => 200)]);
    expect(size).toBeLessThan(5);
  });
  it('is never less than one', () => {
    expect(after(Array.from({ length: 500 }, (_, i) => i * 10)).size).toBeGreaterThanOrEqual(1);
  });
  it('gets used to a slower network', () => {
    const slower = after([...Array.from({ length: 50 }, () => 1), ...Array.from({ length: 10_000 }, () => 80)]);
    expect(slower.size).toBeGreaterThan(8);
  });
});

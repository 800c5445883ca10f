/** `random` gives a number in [0, 1). Exponential back-off with full jitter in its upper half, so that many sources do not come back at one moment. */
export class Backoff {
  private readonly firstMs: number;
  private readonly maxMs: number;
  private readonly random: () => number;
  private attempt = 0;

  constructor(firstMs: number, maxMs: number, random: () => number) {
    this.firstMs = firstMs;
    this.maxMs = maxMs;
    this.random = random;
  }

  nextMs(): number {
    const fullMs = Math.min(this.maxMs, this.firstMs * 2 ** Math.min(this.attempt, 30));
    this.attempt++;
    return fullMs / 2 + (this.random() * fullMs) / 2;
  }
  reset(): void {
    this.attempt = 0;
  }
}

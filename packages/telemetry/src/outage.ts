import type { Clock } from '@sluice/domain';

/** A dependency is taken to be well again when nothing was heard of it for so long; retries come more often. Milliseconds. */
export const OUTAGE_QUIET_MS = 10_000;

/**
 * Makes one record of the many errors of one outage, and one of its end. Whatever meets the trouble calls the returned
 * function each time that it does.
 */
export function outage(options: {
  readonly clock: Clock;
  /** Called with the first error of each kind in an outage. */
  readonly begun: (error: unknown) => void;
  readonly kindOf: (error: unknown) => string | undefined;
  /** @param failures how many errors there were, the first included */
  readonly ended: (failures: number) => void;
}): (error: unknown) => void {
  const { clock, begun, kindOf, ended } = options;
  const kinds = new Set<string | undefined>();
  let failures = 0;
  let lastMs = 0;
  const look = (): void => {
    const leftMs = lastMs + OUTAGE_QUIET_MS - clock.monotonicMs();
    if (leftMs > 0) {
      clock.setTimer(leftMs, look);
      return;
    }
    const count = failures;
    failures = 0;
    kinds.clear();
    ended(count);
  };
  return (error) => {
    lastMs = clock.monotonicMs();
    failures++;
    const kind = kindOf(error);
    if (!kinds.has(kind)) begun(error);
    kinds.add(kind);
    if (failures === 1) clock.setTimer(OUTAGE_QUIET_MS, look);
  };
}

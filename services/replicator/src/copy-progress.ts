import type { Clock } from '@sluice/domain';

/** How far a copy is. */
export interface CopyStatus {
  readonly rowsDone: number;
  /** Never below what is done. */
  readonly rowsEstimate: number;
  readonly bytesDone: number;
  readonly bytesEstimate: number;
  /** At the pace so far; undefined until there is one. */
  readonly secondsLeft: number | undefined;
}

/** Before this no pace can be told. */
const paceAfterMs = 1000;

/** Adds up what was copied, against an estimate that never falls behind it. */
export class CopyProgress {
  private readonly clock: Clock;
  private readonly report: (status: CopyStatus) => void;
  private readonly startedMs: number;
  private readonly rowsEstimate: number;
  private readonly bytesEstimate: number;
  private readonly startShare: number;
  private rows: number;
  private bytes = 0;

  /**
   * @param tables estimates of what the tables hold, in rows and bytes
   * @param shareDone of it, that was copied before, in [0, 1]
   */
  constructor(
    clock: Clock,
    tables: readonly { readonly rowsEstimate: number; readonly bytes: number; readonly shareDone: number }[],
    report: (status: CopyStatus) => void,
  ) {
    this.clock = clock;
    this.report = report;
    this.startedMs = clock.monotonicMs();
    const sum = (pick: (table: (typeof tables)[number]) => number): number =>
      Math.round(tables.reduce((total, table) => total + pick(table), 0));
    this.rowsEstimate = sum(({ rowsEstimate }) => rowsEstimate);
    this.bytesEstimate = sum(({ bytes }) => bytes);
    this.rows = sum(({ rowsEstimate, shareDone }) => rowsEstimate * shareDone);
    this.bytes = sum(({ bytes, shareDone }) => bytes * shareDone);
    this.startShare = this.share;
    this.tell();
  }

  add(rows: number, bytes: number): void {
    this.rows += rows;
    this.bytes += bytes;
    this.tell();
  }

  /** By rows: what a row takes in its table and on its way to us are not the same bytes. */
  private get share(): number {
    return this.rowsEstimate === 0 ? 0 : Math.min(1, this.rows / this.rowsEstimate);
  }

  private tell(): void {
    const { rows, bytes, rowsEstimate, bytesEstimate } = this;
    this.report({
      rowsDone: rows,
      rowsEstimate: Math.max(rowsEstimate, rows),
      bytesDone: bytes,
      bytesEstimate: Math.max(bytesEstimate, bytes),
      secondsLeft: this.secondsLeft(),
    });
  }

  private secondsLeft(): number | undefined {
    const elapsedMs = this.clock.monotonicMs() - this.startedMs;
    const shareSince = this.share - this.startShare;
    if (elapsedMs < paceAfterMs || shareSince <= 0) return undefined;
    return Math.round(((1 - this.share) / shareSince) * (elapsedMs / 1000));
  }
}

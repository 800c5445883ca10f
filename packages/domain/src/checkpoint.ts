import type { Epoch } from './ids.ts';
import type { Lsn } from './position.ts';

/** A barrier of the source up to which everything is durable in the bucket store. */
export interface Checkpoint {
  readonly epoch: Epoch;
  /** The commit LSN of the barrier; its position is (lsn, SEQ_BARRIER). */
  readonly lsn: Lsn;
  /** When the source committed it, Unix time in milliseconds; informational, never used for order. */
  readonly committedAtMs: number;
}

/** Compares by epoch, then LSN. */
export function compareCheckpoints(
  a: { readonly epoch: number; readonly lsn: bigint },
  b: { readonly epoch: number; readonly lsn: bigint },
): number {
  if (a.epoch !== b.epoch) return a.epoch - b.epoch;
  return a.lsn === b.lsn ? 0 : a.lsn < b.lsn ? -1 : 1;
}

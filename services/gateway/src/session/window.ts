/**
 * How many checkpoints a client may have in flight, after TCP Vegas (Brakmo and Peterson, 1995): while acknowledgements
 * come as fast as the fastest ever did, nothing queues at the client and one more may be under way; when they come later,
 * checkpoints are queueing there, and it is better served by fewer and newer ones. Milliseconds.
 */
export interface Window {
  readonly size: number;
  readonly fastestMs: number;
}

export const initialWindow: Window = { size: 4, fastestMs: Number.POSITIVE_INFINITY };

/** Below this, delays say more about timers than about the client. */
const NOISE_MS = 1;
const QUEUED_MIN = 1;
const QUEUED_MAX = 3;

/** @param tookMs from the checkpoint's last byte to its acknowledgement */
export function windowAfterApplied({ size, fastestMs }: Window, tookMs: number, sizeMax: number): Window {
  const fastest = Math.max(NOISE_MS, Math.min(fastestMs, tookMs));
  const queued = size * (1 - fastest / Math.max(fastest, tookMs));
  const next = queued < QUEUED_MIN ? size + 1 : queued > QUEUED_MAX ? size - 1 : size;
  // The fastest ever may have been on another network: it fades, slowly.
  return { size: Math.max(1, Math.min(sizeMax, next)), fastestMs: fastest * 1.001 };
}

/** Bounds and times of a replicator; each has a default that fits most sources. */
export interface Tuning {
  /** How often a project's buckets are compared with its source; 0: only when asked. Milliseconds. */
  readonly auditEveryMs: number;
  /** How long a lease lives without being renewed, milliseconds. */
  readonly leaseTtlMs: number;
  /** A stream that is handed over waits so long at most until what it read is stored; 0: not at all. Milliseconds. */
  readonly drainMs: number;
  /**
   * A frame is closed at the first message beyond it, bytes. Large, since each frame writes one chunk per bucket that it
   * touches; live frames are closed as soon as the socket is drained and stay far below it. A process holds about fifteen
   * times this while it catches up: frames that wait, the one that is evaluated, its chunks, and those on their way to the store.
   */
  readonly frameBytesMax: number;
  /** As frameBytesMax, for the parts of a copy. */
  readonly partBytesMax: number;
  /** Sessions that a copy reads with, side by side, under one consistent point. */
  readonly copySessions: number;
  /** Tables are copied in ranges of their key of about this size, bytes; after a crash a range that was begun begins again. */
  readonly copyRangeBytes: number;
  /**
   * A copy waits no longer than this for a table that is locked, and gives way to a session that has waited so long for one of
   * its tables; then it goes on where it was. Milliseconds.
   */
  readonly copyLockWaitMs: number;
  /** A copy of added streams that was cut off waits so long for the deployment that goes on with it. Milliseconds. */
  readonly resumeWithinMs: number;
  /** A copy reads no more than this from its source, bytes per second. */
  readonly copyBytesPerSecondMax: number;
  /** A copy stands still while the stream is further behind its source than this, bytes of WAL. */
  readonly copyLagBytesMax: number;
  /** A row whose values take more bytes than this is in no bucket, from copy or stream alike. */
  readonly rowBytesMax: number;
  /**
   * Slots are made so that a standby keeps them in step, from version 17 on: after a failover the stream then goes on where it
   * stood, and without it everything is copied again. It asks `sync_replication_slots` of the standby.
   */
  readonly failoverSlots: boolean;
  /** How long a slot may take to be made; open transactions hold it up. */
  readonly slotDeadlineMs: number;
  /** Past so many bytes of WAL that our slot keeps on the source, we drop it and copy everything again. */
  readonly walBytesMax: number;
  readonly reconnectFirstMs: number;
  /** Well below the ten seconds within which clients converge once the source is back. */
  readonly reconnectMaxMs: number;
  /** How long to wait before looking again whether a person has put things right. */
  readonly lookAgainMs: number;
}

export const DEFAULT_TUNING: Tuning = {
  auditEveryMs: 0,
  leaseTtlMs: 15_000,
  drainMs: 0,
  frameBytesMax: 4 << 20,
  partBytesMax: 4 << 20,
  copySessions: 2,
  copyRangeBytes: 64 << 20,
  copyLockWaitMs: 5_000,
  resumeWithinMs: 600_000,
  copyBytesPerSecondMax: 2 ** 40,
  copyLagBytesMax: 256 << 20,
  rowBytesMax: 8 << 20,
  failoverSlots: true,
  slotDeadlineMs: 60_000,
  walBytesMax: 32 * 2 ** 30,
  reconnectFirstMs: 100,
  reconnectMaxMs: 4_000,
  lookAgainMs: 15_000,
};

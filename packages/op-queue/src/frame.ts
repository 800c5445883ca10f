import type { Epoch, LeaseToken, Lsn, Position, ProjectId, StreamNo } from '@sluice/domain';

/** Part of the stored format: a frame of another version is refused and streamed again. */
export const FRAME_VERSION = 2;

/**
 * What the replicator hands to one shard's bucket worker (L3, L4). Self-contained: a relation is described in the frame
 * before its first row, so any worker can take any frame.
 *
 * `changes` is a sequence of records: u32 little-endian length, then that many bytes, the first being the kind:
 * RECORD_TRANSACTION or RECORD_ORDINAL (our own, below) or a pgoutput message as the source sent it: `R`, `I`, `U`, `D`, `T`.
 */
export interface StreamFrame {
  readonly kind: 'stream';
  readonly project: ProjectId;
  readonly epoch: Epoch;
  readonly shard: number;
  /** Version of the shard map that routed this frame. */
  readonly mapVersion: number;
  readonly leaseToken: LeaseToken;
  /** End of the frame before this one; the store applies the frame only if it does not begin beyond what is applied. */
  readonly prev: Position;
  /** End of this frame; (commit LSN, SEQ_BARRIER) when it ends at a barrier. */
  readonly end: Position;
  /** End LSN of the commit at `end`, for the standby status; 0 unless the frame ends at a barrier. */
  readonly endLsn: Lsn;
  /** When the source committed `end`, Unix milliseconds. */
  readonly committedAtMs: number;
  readonly changes: Uint8Array;
}

/** A part of a table's copy for streams that are being back-filled, read under the consistent point `pointLsn` (L10). */
export interface SnapshotFrame {
  readonly kind: 'snapshot';
  readonly project: ProjectId;
  readonly epoch: Epoch;
  readonly shard: number;
  readonly leaseToken: LeaseToken;
  readonly streams: readonly StreamNo[];
  readonly pointLsn: Lsn;
  readonly schema: string;
  readonly table: string;
  /** Counts from 0 within this copy of the table. */
  readonly part: number;
  /** The table's copy is complete with this part. */
  readonly last: boolean;
  /** Records as in a stream frame: one `R`, then `I` messages. */
  readonly changes: Uint8Array;
}

export type Frame = StreamFrame | SnapshotFrame;

/**
 * Begins a transaction's records, or goes on with them in a further frame: kind, u64 commit LSN (`final_lsn`),
 * u64 commit time in Unix microseconds, u32 ordinal of the next row or TRUNCATE message (from 1).
 */
export const RECORD_TRANSACTION = 1;
export const RECORD_TRANSACTION_BYTES = 21;

/**
 * The next row or TRUNCATE of the transaction at hand has another ordinal than the one after the last: kind, u32 ordinal. A
 * shard sees the ordinals of its own rows alone.
 */
export const RECORD_ORDINAL = 2;
export const RECORD_ORDINAL_BYTES = 5;

import type { Epoch, Lsn, Position, StreamNo } from '@sluice/domain';

/**
 * States of rows whose old images the source does not send (L7), kept per stream generation with its buckets: what the row
 * was at its newest position. States below the back-fill point or a TRUNCATE are void, as chunks are, and never read.
 */
export interface RowStateRef {
  readonly stream: StreamNo;
  /** Undefined for the stream's own table, else the number of the membership set. */
  readonly membership: number | undefined;
  /** The row's key as bytes in latin1, at most ROW_STATE_KEY_MAX of them. */
  readonly key: string;
}
/** Bytes of a key: longer row keys stand as their digest, since an index cannot hold them. */
export const ROW_STATE_KEY_MAX = 33;

/**
 * `row`: all columns are known. `partial`: some are not, and are those of the row at `origin` in the copy, if there is one.
 * `gone`: there is no such row, and a copy must not bring it back.
 */
export type RowStateKind = 'row' | 'partial' | 'gone';

export interface RowState extends RowStateRef {
  readonly kind: RowStateKind;
  readonly position: Position;
  /**
   * Ops of the key from here on were evaluated with the row that they found; the first one found nothing known. So a copy
   * read under a point above it must count its row, and one read at or below it must not.
   */
  readonly sinceLsn: Lsn;
  readonly origin: string | undefined;
  /** Empty when the row is gone. */
  readonly image: Uint8Array;
}
/** `absent` erases the state: a row without one is no row, once its stream is whole. */
export interface RowStateWrite extends Omit<RowState, 'kind'> {
  readonly kind: RowStateKind | 'absent';
}

export interface RowStateRequest {
  readonly epoch: Epoch;
  readonly shard: number;
  readonly refs: readonly RowStateRef[];
  /** Also finds partial states by their origin. */
  readonly withOrigins: boolean;
  /** Bytes of images at most, and one state more. */
  readonly bytesMax: number;
}
export interface FoundRowState {
  /** Place of the ref in the request. */
  readonly ref: number;
  /** The ref's key is the state's origin, not its key, which then stands in the image alone. */
  readonly isOrigin: boolean;
  readonly kind: RowStateKind;
  readonly position: Position;
  readonly sinceLsn: Lsn;
  readonly origin: string | undefined;
  readonly image: Uint8Array;
}
/** All as of one moment. */
export interface RowStatePage {
  readonly applied: Position;
  /** Counts what changes states without moving the applied position: parts of copies and back-fill points. */
  readonly revision: bigint;
  /** So many refs, from the first on, are answered; the bound in bytes leaves out the rest. */
  readonly answered: number;
  /** By place of the ref. */
  readonly states: readonly FoundRowState[];
}

/** What a commit was evaluated with, and what it changes; at most one write a key. */
export interface RowStateChange {
  readonly revision: bigint;
  readonly writes: readonly RowStateWrite[];
}

import type { Brand, BucketId, Epoch, Lsn, Position, ProjectId, StreamNo } from '@sluice/domain';
import type { StoredChunk } from './port.ts';

/** A compactor's hold on a project; the store refuses what a lower one writes (L3). */
export type CompactionToken = Brand<bigint, 'CompactionToken'>;

/**
 * Folding what nobody needs any more (L5). Every write checks the token, and that the stream is shown and not being
 * erased; it throws STORE_FENCED otherwise and changes nothing. Nothing here waits for, or holds up, the applying of frames.
 */
export interface CompactionStore {
  /** One compactor a project: taken when free, expired, or already the holder's. */
  acquireCompaction(project: ProjectId, holder: string, ttlMs: number): Promise<CompactionToken | undefined>;
  releaseCompaction(project: ProjectId, token: CompactionToken): Promise<void>;
  /**
   * Notes the newest checkpoint and raises the floors of the serving epoch as far as the ages allow, by commit times of the
   * source (L1). Below `readFrom` no read is answered from then on, below `resumeFrom` no client resumes: both throw
   * STORE_CHECKPOINT_GONE. Undefined while nothing is served.
   */
  raiseFloors(project: ProjectId, token: CompactionToken, ages: FloorAges): Promise<Floors | undefined>;
  /** Says that chunks are about to be folded; until `endPass`, `passedThrough` is undefined. */
  beginPass(project: ProjectId, token: CompactionToken): Promise<void>;
  /** Says that nothing is folded until the next `beginPass`. */
  endPass(project: ProjectId, token: CompactionToken): Promise<void>;
  /** Keeps the read floor of the epoch at or below `lsn` until `ttlMs` from now; one pin a holder. */
  pinCheckpoint(project: ProjectId, holder: string, pin: { epoch: Epoch; lsn: Lsn; ttlMs: number }): Promise<void>;
  unpinCheckpoint(project: ProjectId, holder: string): Promise<void>;

  /**
   * Buckets that hold more than one chunk of live rows at or below the read floor, among the `bucketsMax` after `after`;
   * `next` continues.
   */
  readCrowdedBuckets(
    project: ProjectId,
    request: { stream: StreamNo; readFrom: Lsn; after: BucketId | undefined; bucketsMax: number },
  ): Promise<{ buckets: BucketId[]; next: BucketId | undefined }>;
  /** Every chunk of these buckets at or below the read floor that is not void, without its content, in order. */
  readOutlines(
    project: ProjectId,
    request: { stream: StreamNo; readFrom: Lsn; buckets: readonly BucketId[] },
  ): Promise<ChunkOutline[]>;
  readExactChunks(project: ProjectId, stream: StreamNo, keys: readonly ChunkKey[]): Promise<StoredChunk[]>;
  /** In one transaction: `remove` goes, `add` comes. All must be at or below the read floor and mean the same to every reader. */
  replaceChunks(
    project: ProjectId,
    token: CompactionToken,
    change: { stream: StreamNo; remove: readonly ChunkKey[]; add: readonly StoredChunk[] },
  ): Promise<void>;
  /**
   * Erases at most `rowsMax` rows that are void at every checkpoint that can be read: chunks below a TRUNCATE or the
   * back-fill point, membership ops that a later one supersedes below the resume floor, tombstones there. True when done.
   */
  sweepStream(project: ProjectId, token: CompactionToken, stream: StreamNo, rowsMax: number): Promise<boolean>;
  /** Stores small chunks at or below the read floor more tightly, `bucketsMax` buckets after `after`; `next` continues. */
  packBuckets(
    project: ProjectId,
    token: CompactionToken,
    request: { stream: StreamNo; readFrom: Lsn; after: BucketId | undefined; bucketsMax: number },
  ): Promise<{ packed: number; next: BucketId | undefined }>;
  /**
   * Gives back to the disk what was deleted from the store and is not used again, of all projects, when it is much; says how
   * many bytes. Nothing else waits for it, and it may take minutes. One process at a time does it, for the others there is
   * nothing to do. Resolves at once when aborted; what the server has begun it may still end.
   */
  giveBackSpace(signal: AbortSignal): Promise<number>;
}

export interface FloorAges {
  /** Clients that were away for less resume; others load anew. */
  readonly retentionMs: number;
  /** A read that began less than this ago ends well, without a pin. */
  readonly readableMs: number;
}
export interface Floors {
  readonly epoch: Epoch;
  /** The oldest checkpoint that is read at. */
  readonly readFrom: Lsn;
  /** The oldest checkpoint that a client resumes from; never above `readFrom`. */
  readonly resumeFrom: Lsn;
  /**
   * The newest checkpoint when the last pass ended; undefined when none did, or when one was cut off since. Above it,
   * every reader began after that pass, so a tombstone that the pass left alone stands for a row that no reader has met.
   */
  readonly passedThrough: Lsn | undefined;
}
export interface ChunkKey {
  readonly bucket: BucketId;
  readonly position: Position;
  readonly part: number;
}
export interface ChunkOutline extends ChunkKey {
  readonly ops: number;
  readonly rowsDelta: number;
  readonly payloadBytes: number;
  /** The least LSN that its directory counts from: its totals are of changes at or above. */
  readonly baseLsn: Lsn;
}

import type {
  BucketId,
  Checkpoint,
  Epoch,
  LeaseToken,
  LookupId,
  Lsn,
  Position,
  ProjectId,
  ShardLeaseToken,
  StreamNo,
} from '@sluice/domain';
import type { ChunkCodec } from '@sluice/protocol';
import type { AuditStore } from './audit-port.ts';
import type { CompactionStore } from './compaction-port.ts';
import type { RowStateChange, RowStatePage, RowStateRequest } from './row-state.ts';

/**
 * Everything durable between a source and its clients. Every write locks a row and checks epoch, stream generation and
 * lease token (L3); a write that does not hold them throws STORE_FENCED and changes nothing. Every key begins with the
 * project. All methods may throw STORE_UNAVAILABLE, which is retryable.
 */
export interface BucketStore extends CompactionStore, AuditStore {
  // --- leases: one holder per source
  /** Takes the lease if it is free, expired, or already the holder's; each taking gives a higher token. */
  acquireLease(project: ProjectId, holder: string, ttlMs: number): Promise<LeaseToken | undefined>;
  /** False when the lease was lost. */
  renewLease(project: ProjectId, token: LeaseToken, ttlMs: number): Promise<boolean>;
  releaseLease(project: ProjectId, token: LeaseToken): Promise<void>;

  // --- shard leases: one worker per shard, whatever the epoch; independent of the source's lease
  /**
   * As acquireLease, for the right to apply the shard's frames and parts of copies. A project or a shard need not exist yet.
   * From then on what a former holder still applies throws STORE_FENCED with the detail `lease: 'shard'`.
   */
  acquireShardLease(
    project: ProjectId,
    shard: number,
    holder: string,
    ttlMs: number,
  ): Promise<ShardLeaseToken | undefined>;
  /** False when the lease was lost. */
  renewShardLease(project: ProjectId, shard: number, token: ShardLeaseToken, ttlMs: number): Promise<boolean>;
  releaseShardLease(project: ProjectId, shard: number, token: ShardLeaseToken): Promise<void>;

  // --- epochs
  /** Begins an epoch in state `building`, its shards at `start` and checkpoints held. The serving epoch goes on serving. */
  openEpoch(
    project: ProjectId,
    token: LeaseToken,
    identity: SourceIdentity,
    start: Position,
    shards: number,
  ): Promise<Epoch>;
  /** Records a stopped or changed state that clients and the console may see; undefined clears it. */
  setSourceState(project: ProjectId, token: LeaseToken, state: SourceCondition): Promise<void>;
  readSource(project: ProjectId): Promise<SourceRecord | undefined>;

  // --- streams
  /** Adds generations in state `loading`; rows are evaluated for them from `activatedAt` (exclusive) on. */
  addStreams(
    project: ProjectId,
    token: LeaseToken,
    epoch: Epoch,
    streams: readonly NewStream[],
    activatedAt: Lsn,
  ): Promise<StreamRecord[]>;
  /**
   * Sets the consistent point under which the streams are copied. Commits below it are in the copy, those at or above it
   * are not; so streamed chunks, membership ops and truncates of an LSN below it become void for these streams. Until the
   * point is known, every commit is a barrier of its own, so no chunk holds ops of both sides.
   */
  setBackfillPoint(project: ProjectId, token: LeaseToken, streams: readonly StreamNo[], point: Lsn): Promise<void>;
  // --- copies in ranges of keys (L10)
  /**
   * Writes down the ranges of one table's copy, all of them to do, for streams whose back-fill point is set and that have no
   * ranges of the table yet. A table is then loaded when each of its ranges is. Numbers count from 0, RANGES_MAX at most.
   */
  planCopy(project: ProjectId, token: LeaseToken, streams: readonly StreamNo[], plan: CopyPlan): Promise<void>;
  /** The ranges of a stream's copy, by table and number. */
  readCopy(project: ProjectId, stream: StreamNo): Promise<CopyRangeRecord[]>;
  /**
   * What is left of the copy is read under `point`, a newer one, from now on. What is done stays, since everything streamed
   * since the back-fill point counts: the newest op of a row wins by its position, whichever point the row was copied under.
   * Deltas of what was streamed meanwhile do not add up any more; `settleCopy` must put them right before the switch.
   */
  resumeCopy(project: ProjectId, token: LeaseToken, streams: readonly StreamNo[], point: Lsn): Promise<void>;
  /** Buckets of a stream in use, of a resumed copy, whose deltas up to `through` may not add up, in order; at most `bucketsMax`. */
  readUnsettled(project: ProjectId, request: UnsettledRequest): Promise<UnsettledBucket[]>;
  /**
   * Adds the corrections to the sums of a stream's buckets, as chunks without ops at the newest point; with `last` the
   * stream may be shown. A correction is relative to what the sums are, those written before included.
   */
  settleCopy(project: ProjectId, token: LeaseToken, settlement: Settlement): Promise<void>;

  /**
   * In one transaction: `show` becomes visible and `drop` disappears at the first checkpoint after this call, the epoch
   * becomes the serving one, and the hold is lifted. Every stream in `show` must be loaded and the applied barrier's LSN
   * must be at or above the newest point of each copy, resumed copies settled, and above whatever was applied when a part of a
   * copy was evaluated with row states; throws an InvariantError otherwise, and SCHEMA_RELOADING when a row's columns could not
   * be had from the copy. The caller then writes a heartbeat, so that an idle source gets that checkpoint.
   */
  switchStreams(
    project: ProjectId,
    token: LeaseToken,
    epoch: Epoch,
    change: { show: readonly StreamNo[]; drop: readonly StreamNo[] },
  ): Promise<void>;
  /**
   * Begins a new shard map at the barrier `at`, which all shards must have applied, with none beyond it, and while nothing is
   * copied; throws an InvariantError otherwise. Row keys are taken from the streams in use. Frames of the map before are
   * fenced from then on. The caller tells the workers by a wake-up of the kind `streams`. Gives the new map's version.
   */
  reshard(
    project: ProjectId,
    token: LeaseToken,
    epoch: Epoch,
    change: { readonly shards: number; readonly at: Lsn },
  ): Promise<number>;
  /** Stops (true) or allows (false) publishing checkpoints; applying goes on. */
  holdCheckpoints(project: ProjectId, token: LeaseToken, epoch: Epoch, hold: boolean): Promise<void>;
  /** All generations that are not erased, of all epochs. */
  readStreams(project: ProjectId): Promise<StreamRecord[]>;
  /** Erases the chunks and membership of dropped generations and retired epochs, at most `rowsMax` rows; true when done. */
  eraseDropped(project: ProjectId, rowsMax: number): Promise<boolean>;

  // --- writes of the bucket worker
  /** Applies a frame's result in one transaction, exactly once (L3). Byte arrays may be reused once it has settled. */
  applyFrame(commit: FrameCommit): Promise<ApplyOutcome>;
  /**
   * Applies a part of a copy in one transaction, exactly once per (streams, point, table, part). The part's number is
   * PARTS_PER_RANGE times its range's, plus its place in the range; a table without ranges is one whose number is 0. A range
   * is done when every part up to its last is applied, in whatever order, and a table is loaded when its ranges are. A
   * part read under another point than the streams' newest throws STORE_FENCED.
   */
  applySnapshotPart(commit: SnapshotCommit): Promise<'applied' | 'skipped' | 'stale'>;
  /** The states of rows that frames and parts are evaluated with; STORE_FENCED when the epoch is retired. */
  readRowStates(project: ProjectId, request: RowStateRequest): Promise<RowStatePage>;

  // --- reads as of a checkpoint; `through` and `after` are commit LSNs of checkpoints of one epoch.
  // A read that names a stream which is being erased throws STORE_STREAM_GONE: never less than all of it (L17).
  /** The newest readable checkpoint of the serving epoch. */
  readCheckpoint(project: ProjectId): Promise<Checkpoint | undefined>;
  /**
   * Chunks of the given buckets with `after` < position <= barrier of `through`, in (bucket, position, part) order, void
   * ones left out (truncated, below the back-fill point). Bytes are bounded by `bytesMax`: `next` continues.
   */
  readChunks(project: ProjectId, request: ChunkRequest): Promise<ChunkPage>;
  /** Checksums and row counts of buckets as of a checkpoint; a bucket without chunks is absent. */
  readSums(project: ProjectId, buckets: readonly BucketRef[], through: Lsn): Promise<Map<BucketId, BucketTotals>>;
  /** Values that the lookups give as of a checkpoint, without duplicates; a lookup without values is absent. */
  readMembership(project: ProjectId, lookups: readonly LookupRef[], through: Lsn): Promise<Map<LookupId, string[]>>;
  /** Values that any op touched in (after, through]: grants of these are not unbroken (L13). */
  readMembershipTouched(
    project: ProjectId,
    lookups: readonly LookupRef[],
    after: Lsn,
    through: Lsn,
  ): Promise<Map<LookupId, string[]>>;
  /** Streams whose table was truncated in (after, through]. */
  readTruncated(project: ProjectId, streams: readonly StreamNo[], after: Lsn, through: Lsn): Promise<StreamNo[]>;

  /** What was left out and why, newest first, at most 100. */
  readIssues(project: ProjectId): Promise<SourceIssue[]>;

  /** Erases everything of the project but its counters, so that epochs, streams and tokens are never given twice. */
  eraseProject(project: ProjectId): Promise<void>;
  close(): Promise<void>;
}

export interface SourceIdentity {
  readonly slot: string;
  readonly publication: string;
  /** As IDENTIFY_SYSTEM gives them. */
  readonly systemId: string;
  readonly timeline: number;
  readonly databaseOid: number;
}
export interface SourceCondition {
  readonly state: 'live' | 'loading' | 'stalled' | 'stopped';
  /** A code of the catalogue, or empty. */
  readonly code: string;
  readonly details: Readonly<Record<string, string | number>>;
  readonly rowsDone: number;
  readonly rowsEstimate: number;
}
export interface SourceRecord {
  readonly leaseToken: LeaseToken;
  readonly condition: SourceCondition;
  readonly serving: EpochRecord | undefined;
  /** The newest epoch that is being built, if any. */
  readonly building: EpochRecord | undefined;
}
export interface EpochRecord {
  readonly epoch: Epoch;
  readonly identity: SourceIdentity;
  /** Of the shard map, which says what row is whose: raised whenever that changes (L4). */
  readonly mapVersion: number;
  readonly shards: readonly ShardRecord[];
  /** Part of the map. Tables are added with the streams that read them; a known one keeps its key until `reshard`. */
  readonly rowKeys: RowKeys;
  readonly checkpoint: Checkpoint | undefined;
  readonly held: boolean;
}
/** Names of the row key's columns by `schema.table`. */
export type RowKeys = Readonly<Record<string, readonly string[]>>;
export interface ShardRecord {
  readonly shard: number;
  readonly applied: Position;
  /** The last barrier's end LSN and the one's before it; the standby status confirms the latter (L2). */
  readonly barrier: { readonly lsn: Lsn; readonly endLsn: Lsn };
  readonly previousBarrierEndLsn: Lsn;
}

export interface NewStream {
  readonly name: string;
  readonly contentHash: string;
  /** StreamPlan of @sluice/sync-rules, as JSON. */
  readonly plan: unknown;
}
export interface StreamRecord extends NewStream {
  readonly stream: StreamNo;
  readonly epoch: Epoch;
  /** Rows of commits strictly above this LSN are evaluated for the stream. */
  readonly activatedAt: Lsn;
  /** Consistent point of its copy; undefined until known. */
  readonly backfillPoint: Lsn | undefined;
  /** Tables of the stream (its own and its memberships') whose copy is complete, as `schema.table`. */
  readonly loadedTables: readonly string[];
  /** Visible at checkpoints strictly above; undefined while loading. */
  readonly visibleAfter: Lsn | undefined;
  /** Gone at checkpoints strictly above; undefined while in use. */
  readonly droppedAfter: Lsn | undefined;
}

export interface BucketRef {
  readonly stream: StreamNo;
  readonly bucket: BucketId;
}
export interface LookupRef {
  readonly stream: StreamNo;
  /** Number of the membership set within the stream's plan. */
  readonly membership: number;
  readonly lookup: LookupId;
}
export interface BucketTotals {
  /** Unsigned, mod 2^64 (L9). */
  readonly checksum: bigint;
  readonly rows: number;
}

export interface ChunkWrite extends BucketRef {
  readonly ops: number;
  /** Live rows gained, may be negative. */
  readonly rowsDelta: number;
  /** Sum mod 2^64 of hashes of rows that came minus rows that went, unsigned. */
  readonly checksumDelta: bigint;
  readonly codec: ChunkCodec;
  readonly payloadBytes: number;
  readonly directory: Uint8Array;
  readonly payload: Uint8Array;
}
export interface MembershipWrite extends LookupRef {
  readonly position: Position;
  readonly rowKey: Uint8Array;
  /** The canonical value that the row gives, as the rules engine writes it; also on removal, for L13. */
  readonly value: string;
  readonly present: boolean;
}
/** Voids everything of the stream's buckets, or of one membership set's lookups, below the position. */
export interface TruncateWrite {
  readonly stream: StreamNo;
  /** Undefined for the stream's own table, else the number of the membership set. */
  readonly membership: number | undefined;
  readonly position: Position;
}
export interface SourceIssue {
  readonly code: string;
  readonly table: string;
  readonly count: number;
  readonly details: Readonly<Record<string, string | number>>;
}

export interface FrameCommit {
  readonly project: ProjectId;
  readonly epoch: Epoch;
  readonly shard: number;
  readonly mapVersion: number;
  /** Of the source's lease: whoever read the frame from the source. */
  readonly leaseToken: LeaseToken;
  /** Of the shard's lease: whoever applies the frame. */
  readonly shardLeaseToken: ShardLeaseToken;
  readonly prev: Position;
  readonly end: Position;
  readonly endLsn: Lsn;
  readonly committedAtMs: number;
  /** Position from which the ops below were evaluated; the store refuses the commit if `applied` moved meanwhile. */
  readonly appliedBefore: Position;
  /**
   * Every stream generation that the ops were evaluated for. The store refuses the commit (as a gap) unless these are
   * the epoch's streams in use: none is missing that is active at `end`, none was dropped meanwhile (L3, L11).
   */
  readonly streams: readonly StreamNo[];
  readonly chunks: readonly ChunkWrite[];
  readonly memberships: readonly MembershipWrite[];
  readonly truncates: readonly TruncateWrite[];
  readonly issues: readonly SourceIssue[];
  /** Undefined when nothing was evaluated with states. Those of another revision are answered with a gap. */
  readonly rowStates?: RowStateChange | undefined;
}
export type ApplyOutcome =
  /** Durable. `checkpoint` is set when this made a new one readable, with the one before it. */
  | { readonly kind: 'applied'; readonly checkpoint: Checkpoint | undefined; readonly previousLsn: Lsn }
  /** The whole frame was applied before. */
  | { readonly kind: 'skipped' }
  /** The frame begins beyond the applied position: stream again. Or `appliedBefore` or `streams` is stale: evaluate again. */
  | { readonly kind: 'gap'; readonly applied: Position };

export interface SnapshotCommit {
  readonly project: ProjectId;
  readonly epoch: Epoch;
  readonly leaseToken: LeaseToken;
  /** The shard whose worker applies the part. */
  readonly shard: number;
  readonly shardLeaseToken: ShardLeaseToken;
  readonly streams: readonly StreamNo[];
  readonly pointLsn: Lsn;
  /** `schema.table` */
  readonly table: string;
  readonly part: number;
  readonly last: boolean;
  readonly chunks: readonly ChunkWrite[];
  readonly memberships: readonly MembershipWrite[];
  readonly issues: readonly SourceIssue[];
  /** As a frame's, as of an applied position; a part whose states moved is `stale`: evaluate it again. */
  readonly rowStates?: (RowStateChange & { readonly appliedBefore: Position }) | undefined;
}

/** Parts that a range of a copy may have. */
export const PARTS_PER_RANGE = 65_536;
/** Ranges that a table's copy may have. */
export const RANGES_MAX = 4096;

/** Chunks of a part are numbered from 2^24 times the part's number on, so that no part has a chunk of this number. */
export const CORRECTION_PART = 2 ** 52;

/** Rows whose key is at or above `lower` and below `upper`: texts of the key's columns, undefined where it is open. */
export interface KeyRange {
  readonly lower: readonly string[] | undefined;
  readonly upper: readonly string[] | undefined;
}
export interface CopyPlan {
  /** `schema.table` */
  readonly table: string;
  /** They cover every key once; a range's number is its place. */
  readonly ranges: readonly KeyRange[];
}
export interface CopyRangeRecord extends KeyRange {
  readonly table: string;
  readonly range: number;
  /** The point under which it was copied; undefined while it is to do. */
  readonly point: Lsn | undefined;
}
export interface UnsettledRequest {
  readonly stream: StreamNo;
  readonly through: Lsn;
  /** The last bucket of the page before, or undefined to begin. */
  readonly after: BucketId | undefined;
  readonly bucketsMax: number;
}
export interface UnsettledBucket {
  readonly bucket: BucketId;
  /** Ops in its chunks. */
  readonly ops: number;
}
export interface Settlement {
  readonly stream: StreamNo;
  readonly corrections: readonly Correction[];
  readonly last: boolean;
}
export interface Correction {
  readonly bucket: BucketId;
  readonly rowsDelta: number;
  /** Unsigned, mod 2^64. */
  readonly checksumDelta: bigint;
}

export interface ChunkRequest {
  readonly buckets: readonly BucketRef[];
  readonly after: Lsn;
  readonly through: Lsn;
  readonly bytesMax: number;
  /** From the page before, or undefined to begin. */
  readonly cursor: string | undefined;
}
export interface StoredChunk extends ChunkWrite {
  readonly position: Position;
  readonly part: number;
}
export interface ChunkPage {
  readonly chunks: readonly StoredChunk[];
  readonly next: string | undefined;
}

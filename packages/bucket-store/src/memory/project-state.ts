import type { BucketId, Checkpoint, Epoch, LeaseToken, Lsn, Position, ShardLeaseToken, StreamNo } from '@sluice/domain';
import type {
  CopyRangeRecord,
  MembershipWrite,
  NewStream,
  RowKeys,
  SourceCondition,
  SourceIdentity,
  SourceIssue,
  StoredChunk,
  TruncateWrite,
} from '../port.ts';
import type { RowState } from '../row-state.ts';
import { type CompactionState, emptyCompaction } from './compaction.ts';

/** One project's rows, as the Postgres adapter's tables hold them. */
export interface ProjectState {
  leaseToken: LeaseToken;
  leaseHolder: string | undefined;
  leaseExpiresAtMs: number;
  condition: SourceCondition | undefined;
  nextEpoch: number;
  nextStream: number;
  erased: boolean;
  readonly epochs: Map<Epoch, EpochState>;
  readonly streams: Map<StreamNo, StreamState>;
  readonly issues: Map<string, SourceIssue>;
  readonly shardLeases: Map<number, ShardLease>;
  readonly compaction: CompactionState;
}

export interface ShardLease {
  token: ShardLeaseToken;
  holder: string | undefined;
  expiresAtMs: number;
}
export interface EpochState {
  readonly epoch: Epoch;
  state: 'building' | 'serving' | 'retired';
  readonly identity: SourceIdentity;
  mapVersion: number;
  rowKeys: RowKeys;
  held: boolean;
  checkpoint: Checkpoint | undefined;
  /** Of several shards: the greatest barrier that all have passed, whether or not checkpoints are held. */
  level: Barrier | undefined;
  readonly shards: ShardState[];
}
export interface Barrier {
  readonly lsn: Lsn;
  readonly committedAtMs: number;
}
export interface ShardState {
  readonly shard: number;
  applied: Position;
  barrier: { lsn: Lsn; endLsn: Lsn };
  barrierCommittedAtMs: number;
  /** Of several shards: the barriers above the epoch's level. */
  barriers: Lsn[];
  previousBarrierEndLsn: Lsn;
  rowStatesRevision: bigint;
}
export interface StreamState extends NewStream {
  readonly stream: StreamNo;
  readonly epoch: Epoch;
  readonly activatedAt: Lsn;
  /** The greatest LSN that was applied without this generation. */
  readonly appliedBefore: Lsn;
  backfillPoint: Lsn | undefined;
  /** The newest point of a resumed copy. */
  copyPoint: Lsn | undefined;
  isSettled: boolean;
  ranges: CopyRangeRecord[];
  loadedTables: string[];
  visibleAfter: Lsn | undefined;
  droppedAfter: Lsn | undefined;
  erasing: boolean;
  /** Parts applied per table, under the present point. */
  readonly partsByTable: Map<string, Map<number, { last: boolean }>>;
  readonly chunksByBucket: Map<BucketId, StoredChunk[]>;
  memberships: MembershipWrite[];
  truncates: TruncateWrite[];
  /** By membership set, undefined for the own table; then by key. */
  readonly rowStates: Map<number | undefined, Map<string, RowState>>;
  /** The greatest LSN that was applied when a part of the copy was laid beside streamed rows. */
  settledLsn: Lsn;
}

export function emptyProject(): ProjectState {
  return {
    leaseToken: 0n as LeaseToken,
    leaseHolder: undefined,
    leaseExpiresAtMs: 0,
    condition: undefined,
    nextEpoch: 1,
    nextStream: 1,
    erased: false,
    epochs: new Map(),
    streams: new Map(),
    issues: new Map(),
    shardLeases: new Map(),
    compaction: emptyCompaction(),
  };
}

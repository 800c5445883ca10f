import {
  type BucketId,
  barrierAt,
  type Epoch,
  type LeaseToken,
  type LookupId,
  type Lsn,
  type Position,
  type ProjectId,
  type ShardLeaseToken,
  type StreamNo,
} from '@sluice/domain';
import { CODEC_STORED } from '@sluice/protocol';
import { emptyDirectory } from '../empty-directory.ts';
import type {
  ApplyOutcome,
  BucketStore,
  ChunkWrite,
  FrameCommit,
  MembershipWrite,
  SnapshotCommit,
  StoredChunk,
  TruncateWrite,
} from '../port.ts';

export const lsn = (value: number): Lsn => BigInt(value) as Lsn;
export const bucketId = (n: number): BucketId => n.toString(16).padStart(32, '0') as BucketId;
export const lookupId = (n: number): LookupId => n.toString(16).padStart(32, 'f') as LookupId;
export const identity = { slot: 'slot', publication: 'publication', systemId: '7', timeline: 1, databaseOid: 5 };

/** A chunk whose payload tells which one it is. */
export function chunk(stream: StreamNo, bucket: number, text: string, change: Partial<ChunkWrite> = {}): ChunkWrite {
  const payload = new TextEncoder().encode(text);
  return {
    stream,
    bucket: bucketId(bucket),
    ops: 1,
    rowsDelta: 1,
    checksumDelta: 1n,
    codec: CODEC_STORED,
    payloadBytes: payload.length,
    directory: emptyDirectory(),
    payload,
    ...change,
  };
}
export const textOf = ({ payload }: StoredChunk): string => new TextDecoder().decode(payload);

export interface MemberOp {
  readonly at: Position;
  readonly row: string;
  readonly value: string;
  readonly present?: boolean;
  readonly lookup?: number;
  readonly membership?: number;
}
export function member(stream: StreamNo, op: MemberOp): MembershipWrite {
  return {
    stream,
    membership: op.membership ?? 0,
    lookup: lookupId(op.lookup ?? 1),
    position: op.at,
    rowKey: new TextEncoder().encode(op.row),
    value: op.value,
    present: op.present ?? true,
  };
}

/** Plays the one lease holder of a project: fills in what a test does not talk about. */
export class StoreDriver {
  readonly store: BucketStore;
  readonly project: ProjectId;
  token = 0n as LeaseToken;
  epoch = 0 as Epoch;
  applied: Position = barrierAt(lsn(0));
  /** Of shard 0. */
  shardToken = 0n as ShardLeaseToken;
  streams: StreamNo[] = [];

  constructor(store: BucketStore, project: ProjectId) {
    this.store = store;
    this.project = project;
  }

  /** Takes the lease and opens an epoch whose slot's consistent point is `point`. */
  async open(point = 100, shards = 1): Promise<void> {
    this.token = (await this.store.acquireLease(this.project, 'driver', 60_000)) ?? this.token;
    this.shardToken = (await this.store.acquireShardLease(this.project, 0, 'driver', 60_000)) ?? this.shardToken;
    this.applied = barrierAt(lsn(point - 1));
    this.epoch = await this.store.openEpoch(this.project, this.token, identity, this.applied, shards);
    this.streams = [];
  }

  async add(name = 'items', activatedAt: Lsn = this.applied.lsn, plan: unknown = { name }): Promise<StreamNo> {
    const added = [{ name, contentHash: `hash of ${name}`, plan }];
    const [record] = await this.store.addStreams(this.project, this.token, this.epoch, added, activatedAt);
    const stream = record?.stream ?? (0 as StreamNo);
    this.streams = [...this.streams, stream];
    return stream;
  }

  /** An epoch that serves one stream, its first checkpoint still to come. */
  async serve(point = 100): Promise<StreamNo> {
    await this.open(point);
    const stream = await this.add();
    await this.store.setBackfillPoint(this.project, this.token, [stream], lsn(point));
    await this.barrier(point);
    await this.switchTo([stream]);
    return stream;
  }

  async switchTo(show: readonly StreamNo[], drop: readonly StreamNo[] = []): Promise<void> {
    await this.store.switchStreams(this.project, this.token, this.epoch, { show, drop });
    this.streams = this.streams.filter((stream) => !drop.includes(stream));
  }

  /** A frame from the applied position to a barrier at `at`. */
  commit(at: number, change: Partial<FrameCommit> = {}): FrameCommit {
    return {
      project: this.project,
      epoch: this.epoch,
      shard: 0,
      mapVersion: 1,
      leaseToken: this.token,
      shardLeaseToken: this.shardToken,
      prev: this.applied,
      end: barrierAt(lsn(at)),
      endLsn: lsn(at + 8),
      committedAtMs: at,
      appliedBefore: this.applied,
      streams: this.streams,
      chunks: [],
      memberships: [],
      truncates: [],
      issues: [],
      ...change,
    };
  }

  /** Applies such a frame and goes on from its end. */
  async barrier(at: number, change: Partial<FrameCommit> = {}): Promise<ApplyOutcome> {
    const commit = this.commit(at, change);
    const outcome = await this.store.applyFrame(commit);
    if (outcome.kind === 'applied') this.applied = commit.end;
    return outcome;
  }

  part(point: number, part: number, change: Partial<SnapshotCommit> = {}): SnapshotCommit {
    return {
      project: this.project,
      epoch: this.epoch,
      leaseToken: this.token,
      shard: 0,
      shardLeaseToken: this.shardToken,
      streams: this.streams,
      pointLsn: lsn(point),
      table: 'public.items',
      part,
      last: false,
      chunks: [],
      memberships: [],
      issues: [],
      ...change,
    };
  }

  /** Everything readable of the buckets, in the order given by the store. */
  async read(
    stream: StreamNo,
    buckets: readonly number[],
    range: { after?: number; through: number },
  ): Promise<string[]> {
    const { chunks } = await this.store.readChunks(this.project, {
      buckets: buckets.map((bucket) => ({ stream, bucket: bucketId(bucket) })),
      after: lsn(range.after ?? 0),
      through: lsn(range.through),
      bytesMax: 1 << 20,
      cursor: undefined,
    });
    return chunks.map(textOf);
  }

  async members(stream: StreamNo, through: number, lookup = 1, membership = 0): Promise<string[]> {
    const ref = { stream, membership, lookup: lookupId(lookup) };
    return (await this.store.readMembership(this.project, [ref], lsn(through))).get(ref.lookup) ?? [];
  }
}

export const truncate = (stream: StreamNo, at: number, seq: number, membership?: number): TruncateWrite => ({
  stream,
  membership,
  position: { lsn: lsn(at), seq },
});

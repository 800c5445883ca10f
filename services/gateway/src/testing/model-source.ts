import type { BucketStore, StreamRecord } from '@sluice/bucket-store';
import {
  barrierAt,
  type Clock,
  type Epoch,
  type LeaseToken,
  type Lsn,
  type Position,
  type ProjectId,
  parseProjectId,
  SEQ_PER_ORDINAL,
  type ShardLeaseToken,
  type StreamNo,
} from '@sluice/domain';
import { assert } from '@sluice/errors';
import type { WakeUps } from '@sluice/op-queue';
import type { StreamPlan } from '@sluice/sync-rules';

import { type Doc, docsPlan, type Member, type Snapshot } from './docs-rules.ts';
import { Draft } from './draft.ts';

export type Change =
  | { readonly kind: 'doc'; readonly id: number; readonly doc: Doc | undefined }
  | { readonly kind: 'member'; readonly id: number; readonly member: Member | undefined }
  | { readonly kind: 'truncate-docs' }
  | { readonly kind: 'truncate-members' };

/**
 * A source with its replicator and worker, in miniature: it changes two tables in memory and commits what a worker would
 * to a bucket store. Keeps the tables at every commit, which is what clients are compared with.
 */
export class ModelSource {
  readonly project: ProjectId;
  readonly snapshots: { readonly lsn: Lsn; readonly snapshot: Snapshot }[] = [];
  private readonly switches: { readonly after: Lsn; readonly stream: StreamNo }[] = [];
  stream: StreamNo = 0 as StreamNo;
  epoch: Epoch = 0 as Epoch;
  lsn: Lsn = 1000n as Lsn;
  private readonly store: BucketStore;
  private readonly wakeUps: WakeUps;
  private readonly clock: Clock;
  private readonly plan: StreamPlan;
  private token: LeaseToken = 0n as LeaseToken;
  private shardToken = 0n as ShardLeaseToken;
  private docs = new Map<number, Doc>();
  private members = new Map<number, Member>();

  constructor(options: {
    store: BucketStore;
    wakeUps: WakeUps;
    clock: Clock;
    project?: number;
    plan?: StreamPlan | undefined;
  }) {
    this.store = options.store;
    this.wakeUps = options.wakeUps;
    this.clock = options.clock;
    this.project = parseProjectId(options.project ?? 1);
    this.plan = options.plan ?? docsPlan;
  }

  get now(): Snapshot {
    return { docs: this.docs, members: this.members };
  }
  /** The generation that is visible at a checkpoint. */
  streamAt(lsn: Lsn): StreamNo {
    const found = this.switches.findLast(({ after }) => lsn > after);
    assert(found, 'no stream that old');
    return found.stream;
  }
  /** The tables as of a checkpoint. */
  at(lsn: Lsn): Snapshot {
    const found = this.snapshots.findLast((known) => known.lsn <= lsn);
    assert(found, 'no snapshot that old');
    return found.snapshot;
  }

  /** Builds an epoch from the tables as they are, and makes it the serving one. */
  async begin(): Promise<void> {
    const { store, project } = this;
    const token = await store.acquireLease(project, 'model', 3_600_000);
    assert(token !== undefined, 'the lease is free');
    this.token = token;
    const shardToken = await store.acquireShardLease(project, 0, 'model', 3_600_000);
    assert(shardToken !== undefined, 'the shard is free');
    this.shardToken = shardToken;
    const identity = { slot: 's', publication: 'p', systemId: '1', timeline: 1, databaseOid: 1 };
    const start = { lsn: (this.lsn - 1n) as Lsn, seq: barrierAt(this.lsn).seq };
    this.epoch = await store.openEpoch(project, token, identity, start, 1);
    const record = await this.addStream(start.lsn);
    await this.copy(record, this.lsn);
    await this.frame([], { publish: false, prev: start });
    await store.switchStreams(project, token, this.epoch, { show: [record.stream], drop: [] });
    this.stream = record.stream;
    this.switches.push({ after: (this.lsn - 100n) as Lsn, stream: record.stream });
    const condition = { state: 'live', code: '', details: {}, rowsDone: 0, rowsEstimate: 0 } as const;
    await store.setSourceState(project, token, condition);
    this.wakeUps.publish({ kind: 'streams', project });
    await this.commit([]);
  }

  /** Copies the stream again as a new generation that replaces the present one at the next commit. */
  async redeploy({ publish = true } = {}): Promise<void> {
    const { store, project, token } = this;
    const old = this.stream;
    const record = await this.addStream(this.lsn);
    await this.commit([]);
    await this.copy(record, (this.lsn + 1n) as Lsn);
    await this.commit([]);
    await store.switchStreams(project, token, this.epoch, { show: [record.stream], drop: [old] });
    this.stream = record.stream;
    this.switches.push({ after: this.lsn, stream: record.stream });
    if (publish) this.wakeUps.publish({ kind: 'streams', project });
  }

  private async addStream(activatedAt: Lsn): Promise<StreamRecord> {
    const plan = { name: 'docs', contentHash: this.plan.contentHash, plan: this.plan };
    const [record] = await this.store.addStreams(this.project, this.token, this.epoch, [plan], activatedAt);
    assert(record, 'one stream');
    return record;
  }

  private async copy({ stream }: StreamRecord, pointLsn: Lsn): Promise<void> {
    const { store, project, token } = this;
    const streams = [stream];
    await store.setBackfillPoint(project, token, streams, pointLsn);
    const draft = new Draft(stream);
    for (const [id, doc] of this.docs) draft.doc(id, undefined, doc, { lsn: pointLsn, seq: 0 });
    for (const [id, member] of this.members) draft.member(id, undefined, member, { lsn: pointLsn, seq: 0 });
    const held = { leaseToken: token, shard: 0, shardLeaseToken: this.shardToken };
    const base = { project, epoch: this.epoch, ...held, streams, pointLsn, part: 0, last: true, issues: [] };
    await store.applySnapshotPart({ ...base, table: 'public.docs', chunks: draft.chunks(pointLsn), memberships: [] });
    if (this.plan.memberships.length === 0) return;
    await store.applySnapshotPart({ ...base, table: 'public.members', chunks: [], memberships: draft.memberships });
  }

  /** One transaction, published as a checkpoint. */
  commit(changes: readonly Change[], options: { publish?: boolean } = {}): Promise<Lsn> {
    return this.frame([changes], { publish: options.publish ?? true });
  }

  /** Several transactions in one frame, with one barrier at its end. */
  async frame(
    transactions: readonly (readonly Change[])[],
    options: { publish: boolean; prev?: Position },
  ): Promise<Lsn> {
    const { store, project, epoch } = this;
    const prev = options.prev ?? barrierAt(this.lsn);
    const draft = new Draft(this.stream);
    for (const changes of transactions.length > 0 ? transactions : [[]]) {
      this.lsn = (this.lsn + 100n) as Lsn;
      changes.forEach((change, i) => {
        this.apply(change, draft, { lsn: this.lsn, seq: (i + 1) * SEQ_PER_ORDINAL });
      });
      const snapshot = { docs: new Map(this.docs), members: new Map(this.members) };
      this.snapshots.push({ lsn: this.lsn, snapshot });
    }
    const records = await store.readStreams(project);
    const streams = records.filter((r) => r.epoch === epoch && r.droppedAfter === undefined).map((r) => r.stream);
    const outcome = await store.applyFrame({
      project,
      epoch,
      shard: 0,
      mapVersion: 1,
      leaseToken: this.token,
      shardLeaseToken: this.shardToken,
      prev,
      end: barrierAt(this.lsn),
      endLsn: (this.lsn + 8n) as Lsn,
      committedAtMs: this.clock.nowMs(),
      appliedBefore: prev,
      streams,
      chunks: draft.chunks(this.lsn),
      memberships: draft.memberships,
      truncates: draft.truncates,
      issues: [],
    });
    assert(outcome.kind === 'applied', `a frame was ${outcome.kind}`);
    const { checkpoint, previousLsn } = outcome;
    if (checkpoint && options.publish)
      this.wakeUps.publish({
        kind: 'checkpoint',
        project,
        checkpoint,
        previousLsn,
        shards: 1,
        inUse: streams,
        buckets: [...draft.buckets.keys()],
        lookups: [...new Set(draft.memberships.map((write) => write.lookup))],
        truncated: draft.truncates.map((truncate) => truncate.stream),
      });
    return this.lsn;
  }

  private apply(change: Change, draft: Draft, position: Position): void {
    switch (change.kind) {
      case 'doc': {
        draft.doc(change.id, this.docs.get(change.id), change.doc, position);
        if (change.doc) this.docs.set(change.id, change.doc);
        else this.docs.delete(change.id);
        break;
      }
      case 'member': {
        draft.member(change.id, this.members.get(change.id), change.member, position);
        if (change.member) this.members.set(change.id, change.member);
        else this.members.delete(change.id);
        break;
      }
      case 'truncate-docs':
        draft.truncateDocs(position);
        this.docs = new Map();
        break;
      case 'truncate-members':
        draft.truncateMembers(position);
        this.members = new Map();
        break;
    }
  }
}

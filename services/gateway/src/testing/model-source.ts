import { deflateRawSync } from 'node:zlib';
import {
  type BucketStore,
  bucketIdOf,
  type ChunkWrite,
  lookupIdOf,
  type MembershipWrite,
  type StreamRecord,
} from '@sluice/bucket-store';
import {
  type BucketId,
  ByteWriter,
  barrierAt,
  Checksum,
  type Clock,
  type Epoch,
  Hash64,
  type LeaseToken,
  type LookupId,
  type Lsn,
  type Position,
  type ProjectId,
  parseProjectId,
  rowHash,
  SEQ_PER_ORDINAL,
  type StreamNo,
  tableSeed,
  writeCell,
} from '@sluice/domain';
import { assert } from '@sluice/errors';
import type { WakeUps } from '@sluice/op-queue';
import {
  appendDirectoryEntry,
  appendOp,
  CODEC_DEFLATE_RAW,
  CODEC_STORED,
  OP_PUT,
  OP_REMOVE,
  writeDirectoryHead,
} from '@sluice/protocol';
import { PLAN_VERSION, resolveClaims, type StreamPlan } from '@sluice/sync-rules';

/** A document belongs to its owner and to the members of its team. */
export interface Doc {
  readonly owner: string;
  readonly team: string;
  readonly body: string;
}
export interface Member {
  readonly user: string;
  readonly team: string;
}
export type Change =
  | { readonly kind: 'doc'; readonly id: number; readonly doc: Doc | undefined }
  | { readonly kind: 'member'; readonly id: number; readonly member: Member | undefined }
  | { readonly kind: 'truncate-docs' }
  | { readonly kind: 'truncate-members' };

/** The tables at one commit. */
export interface Snapshot {
  readonly docs: ReadonlyMap<number, Doc>;
  readonly members: ReadonlyMap<number, Member>;
}

const column = (name: string) => ({ name, typeOid: name === 'id' ? 23 : 25, typmod: -1 });
const sub = { path: ['sub'] };

/** `SELECT id, owner, team, body FROM docs WHERE owner = auth.user_id() OR team IN (SELECT team FROM members …)`. */
export const docsPlan: StreamPlan = {
  version: PLAN_VERSION,
  name: 'docs',
  sourceTable: { schema: 'public', name: 'docs' },
  table: {
    name: 'docs',
    keyColumns: 1,
    columns: ['id', 'owner', 'team', 'body'].map((name) => ({
      name,
      sqliteType: name === 'id' ? 'INTEGER' : 'TEXT',
      pgType: name === 'id' ? 'integer' : 'text',
      source: column(name),
      baseTypeOid: name === 'id' ? 23 : 25,
    })),
  },
  buckets: [
    {
      filters: [],
      claimFilters: [],
      params: [{ column: column('owner'), type: 'text', from: { kind: 'claim', claim: sub } }],
    },
    {
      filters: [],
      claimFilters: [],
      params: [{ column: column('team'), type: 'text', from: { kind: 'membership', membership: 0 } }],
    },
  ],
  memberships: [
    {
      table: { schema: 'public', name: 'members' },
      key: [column('id')],
      filters: [],
      lookup: [{ column: column('user'), type: 'text', claim: sub }],
      output: { column: column('team'), type: 'text' },
      claimFilters: [],
    },
  ],
  contentHash: '00',
};

/** The canonical bytes of a text in a bucket or lookup key. */
function pieceOf(text: string): string {
  const param = resolveClaims(docsPlan, { sub: text }).disjuncts[0]?.params[0];
  assert(param?.kind === 'value', 'the first disjunct has one claim parameter');
  return param.piece;
}
function lookupKeyOf(user: string): string {
  const param = resolveClaims(docsPlan, { sub: user }).disjuncts[1]?.params[0];
  assert(param?.kind === 'lookup', 'the second disjunct has one membership parameter');
  return param.lookupKey;
}

export function encodeDoc(id: number, doc: Doc): { row: Uint8Array; keyBytes: number } {
  const out = new ByteWriter(256);
  writeCell(out, id);
  const keyBytes = out.length;
  for (const value of [doc.owner, doc.team, doc.body]) writeCell(out, value);
  return { row: out.take(), keyBytes };
}
const seed = tableSeed('docs');

interface PendingOp {
  readonly position: Position;
  readonly key: Uint8Array;
  readonly row: Uint8Array | undefined;
}
interface PendingBucket {
  ops: Map<string, PendingOp>;
  readonly checksum: Checksum;
  rowsDelta: number;
}

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
  async redeploy(): Promise<void> {
    const { store, project, token } = this;
    const old = this.stream;
    const record = await this.addStream(this.lsn);
    await this.commit([]);
    await this.copy(record, (this.lsn + 1n) as Lsn);
    await this.commit([]);
    await store.switchStreams(project, token, this.epoch, { show: [record.stream], drop: [old] });
    this.stream = record.stream;
    this.switches.push({ after: this.lsn, stream: record.stream });
    this.wakeUps.publish({ kind: 'streams', project });
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
    const base = { project, epoch: this.epoch, leaseToken: token, streams, pointLsn, part: 0, last: true, issues: [] };
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

export function bucketsOfDoc(stream: StreamNo, doc: Doc): BucketId[] {
  return [bucketIdOf(stream, 0, pieceOf(doc.owner)), bucketIdOf(stream, 1, pieceOf(doc.team))];
}
/** The buckets that a user may see, found from the tables alone. */
export function bucketsOfUser(stream: StreamNo, snapshot: Snapshot, user: string): Set<BucketId> {
  const teams = [...snapshot.members.values()].filter((member) => member.user === user).map((member) => member.team);
  return new Set([bucketIdOf(stream, 0, pieceOf(user)), ...teams.map((team) => bucketIdOf(stream, 1, pieceOf(team)))]);
}
export function lookupOfUser(stream: StreamNo, user: string): LookupId {
  return lookupIdOf(stream, 0, lookupKeyOf(user));
}

/** What a worker makes of a frame. */
class Draft {
  readonly buckets = new Map<BucketId, PendingBucket>();
  memberships: MembershipWrite[] = [];
  readonly truncates: { stream: StreamNo; membership: number | undefined; position: Position }[] = [];
  private readonly stream: StreamNo;

  constructor(stream: StreamNo) {
    this.stream = stream;
  }

  doc(id: number, old: Doc | undefined, next: Doc | undefined, position: Position): void {
    const before = old ? bucketsOfDoc(this.stream, old) : [];
    const after = next ? bucketsOfDoc(this.stream, next) : [];
    const oldRow = old && encodeDoc(id, old);
    const newRow = next && encodeDoc(id, next);
    for (const bucket of before) {
      if (!oldRow) continue;
      const key = oldRow.row.slice(0, oldRow.keyBytes);
      this.count(bucket, oldRow.row, -1);
      if (!after.includes(bucket)) this.op(bucket, { position, key, row: undefined });
    }
    for (const bucket of after) {
      if (!newRow) continue;
      this.count(bucket, newRow.row, 1);
      this.op(bucket, { position, key: newRow.row.slice(0, newRow.keyBytes), row: newRow.row });
    }
  }

  member(id: number, old: Member | undefined, next: Member | undefined, position: Position): void {
    const out = new ByteWriter(16);
    writeCell(out, id);
    const rowKey = out.take();
    const write = (member: Member, present: boolean, offset: number) =>
      this.memberships.push({
        stream: this.stream,
        membership: 0,
        lookup: lookupOfUser(this.stream, member.user),
        position: { lsn: position.lsn, seq: position.seq + offset },
        rowKey,
        value: pieceOf(member.team),
        present,
      });
    if (old && next && old.user === next.user && old.team === next.team) return;
    if (old) write(old, false, 0);
    if (next) write(next, true, old ? 1 : 0);
  }

  truncateDocs(position: Position): void {
    this.buckets.clear();
    this.truncates.push({ stream: this.stream, membership: undefined, position });
  }
  truncateMembers(position: Position): void {
    this.truncates.push({ stream: this.stream, membership: 0, position });
  }

  chunks(endLsn: Lsn): ChunkWrite[] {
    return [...this.buckets].map(([bucket, { ops, checksum, rowsDelta }]) => {
      const payload = new ByteWriter(1024);
      const directory = new ByteWriter(256);
      const hash = new Hash64();
      const list = [...ops.values()];
      const base = list.reduce((lowest, op) => (op.position.lsn < lowest ? op.position.lsn : lowest), endLsn);
      writeDirectoryHead(directory, list.length, base);
      for (const { position, key, row } of list) {
        const body = row ?? key;
        appendOp(payload, row ? OP_PUT : OP_REMOVE, body, 0, body.length);
        hash.update(key, new DataView(key.buffer, key.byteOffset, key.byteLength), 0, key.length, 0);
        const lsnDelta = Number(position.lsn - base);
        appendDirectoryEntry(directory, {
          hashLo: hash.lo,
          hashHi: hash.hi,
          lsnDelta,
          seq: position.seq,
          keyBytes: key.length,
        });
      }
      const stored = payload.take();
      const isDeflated = stored.length > 200;
      return {
        stream: this.stream,
        bucket,
        ops: list.length,
        rowsDelta,
        checksumDelta: checksum.toBigint(),
        codec: isDeflated ? CODEC_DEFLATE_RAW : CODEC_STORED,
        payloadBytes: stored.length,
        directory: directory.take(),
        payload: isDeflated ? new Uint8Array(deflateRawSync(stored, { level: 1 })) : stored,
      };
    });
  }

  private bucket(bucket: BucketId): PendingBucket {
    const known = this.buckets.get(bucket);
    if (known) return known;
    const fresh = { ops: new Map<string, PendingOp>(), checksum: new Checksum(), rowsDelta: 0 };
    this.buckets.set(bucket, fresh);
    return fresh;
  }
  private op(bucket: BucketId, op: PendingOp): void {
    const { ops } = this.bucket(bucket);
    const key = Buffer.from(op.key).toString('hex');
    ops.delete(key);
    ops.set(key, op);
  }
  private count(bucket: BucketId, row: Uint8Array, sign: 1 | -1): void {
    const pending = this.bucket(bucket);
    const hash = rowHash(seed, row);
    const lo = Number(hash & 0xffffffffn);
    const hi = Number(hash >> 32n);
    if (sign > 0) pending.checksum.add(lo, hi);
    else pending.checksum.subtract(lo, hi);
    pending.rowsDelta += sign;
  }
}

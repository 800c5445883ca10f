import { type BucketRef, type BucketStore, bucketIdOf, lookupIdOf } from '@sluice/bucket-store';
import {
  ByteWriter,
  barrierAt,
  type Checkpoint,
  type Clock,
  comparePositions,
  type Epoch,
  hexFromBytes,
  type LeaseToken,
  type Lsn,
  type Position,
  type ProjectId,
  SEQ_PER_ORDINAL,
  type ShardLeaseToken,
  type StreamNo,
  writeTextCell,
} from '@sluice/domain';
import { createMemoryOpQueue, createMemoryWakeUps, type Frame, type StreamFrame } from '@sluice/op-queue';
import { appendParamText } from '@sluice/pg-values';
import { createLogger } from '@sluice/telemetry';
import { randomFrom, type SeededRandom } from '@sluice/testkit';
import { expect } from 'vitest';
import { createBucketWorker } from './app.ts';
import { chunksOf, type Reduced, reduceChunks, totalsOf } from './reduce.fixture.ts';
import {
  changesOf,
  deleteMessage,
  type Fields,
  ITEMS_OID,
  insertMessage,
  itemsPlan,
  MEMBERS_OID,
  type TransactionPart,
  truncateMessage,
  updateMessage,
} from './wal.fixture.ts';

const letters = ['p', 'q', 'r'];
const QUEUE_BYTES_MAX = 1 << 20;
const identity = { slot: 's', publication: 'p', systemId: '1', timeline: 1, databaseOid: 1 };
const START_LSN = 1000n as Lsn;
const POINT_LSN = 1001n as Lsn;

interface Model {
  readonly items: Map<string, Fields>;
  readonly members: Map<string, Fields>;
}
interface Transaction {
  readonly lsn: Lsn;
  readonly endLsn: Lsn;
  readonly messages: readonly Uint8Array[];
  /** The tables after it. */
  readonly after: Model;
}

/** A random history of both tables, with what they hold after each transaction. */
function randomHistory(random: SeededRandom, count: number): Transaction[] {
  let model: Model = { items: new Map(), members: new Map() };
  let lsn = 2000n;
  return Array.from({ length: count }, () => {
    model = { items: new Map(model.items), members: new Map(model.members) };
    const messages = Array.from({ length: random.int(0, 6) }, () => randomChange(random, model)).filter(
      (message) => message !== undefined,
    );
    lsn += BigInt(random.int(10, 100_000));
    return { lsn: lsn as Lsn, endLsn: (lsn + 8n) as Lsn, messages, after: model };
  });
}

function randomChange(random: SeededRandom, model: Model): Uint8Array | undefined {
  const isItem = random.chance(0.75);
  const table = isItem ? model.items : model.members;
  const oid = isItem ? ITEMS_OID : MEMBERS_OID;
  if (random.chance(0.03)) {
    table.clear();
    return truncateMessage([oid]);
  }
  const id = `k${random.int(0, 12)}`;
  const old = table.get(id);
  const fresh = isItem ? randomItem(random, id) : [id, random.pick(letters), random.pick(letters)];
  if (!old) {
    table.set(id, fresh);
    return insertMessage(oid, fresh);
  }
  if (random.chance(0.3)) {
    table.delete(id);
    return deleteMessage(oid, old);
  }
  return randomUpdate(random, { table, oid, old, fresh });
}

function randomItem(random: SeededRandom, id: string): Fields {
  const letterOrNull = () => (random.chance(0.15) ? null : random.pick(letters));
  const body = random.chance(0.1) ? 'x'.repeat(random.int(1, 20_000)) : `body ${random.int(0, 3)}`;
  return [id, letterOrNull(), letterOrNull(), body];
}

function randomUpdate(
  random: SeededRandom,
  change: { table: Map<string, Fields>; oid: number; old: Fields; fresh: Fields },
): Uint8Array | undefined {
  const { table, oid, old, fresh } = change;
  if (random.chance(0.1)) return updateMessage(oid, old, old);
  if (random.chance(0.2)) {
    const id = `k${random.int(0, 12)}`;
    if (table.has(id)) return undefined;
    const moved = [id, ...old.slice(1)];
    table.delete(String(old[0]));
    table.set(id, moved);
    return updateMessage(oid, old, moved);
  }
  if (oid === ITEMS_OID && random.chance(0.2)) {
    // An unchanged TOAST value: not in the new tuple, only in the old one (L7).
    table.set(String(old[0]), [...fresh.slice(0, 3), old[3] as string]);
    return updateMessage(oid, old, [...fresh.slice(0, 3), undefined]);
  }
  table.set(String(old[0]), fresh);
  return updateMessage(oid, old, fresh);
}

/** Cuts the history after `from` into frames, anew each time: within transactions, and with barriers left out. */
function cut(random: SeededRandom, history: readonly Transaction[], from: number, base: FrameBase): StreamFrame[] {
  const frames: StreamFrame[] = [];
  let prev: Position = barrierAt(history[from - 1]?.lsn ?? START_LSN);
  let parts: TransactionPart[] = [];
  const close = (end: Position, endLsn: Lsn): void => {
    frames.push({ ...base, kind: 'stream', shard: 0, prev, end, endLsn, committedAtMs: 1, changes: changesOf(parts) });
    prev = end;
    parts = [];
  };
  history.slice(from).forEach(({ lsn, endLsn, messages }, at) => {
    let ordinal = 1;
    while (messages.length - ordinal >= 0 && random.chance(0.25)) {
      const upTo = random.int(ordinal, messages.length);
      parts.push({ lsn, ordinal, messages: messages.slice(ordinal - 1, upTo) });
      close({ lsn, seq: upTo * SEQ_PER_ORDINAL + SEQ_PER_ORDINAL - 1 }, 0n as Lsn);
      ordinal = upTo + 1;
    }
    parts.push({ lsn, ordinal, messages: messages.slice(ordinal - 1) });
    if (from + at === history.length - 1 || random.chance(0.6)) close(barrierAt(lsn), endLsn);
  });
  return frames;
}
type FrameBase = Pick<StreamFrame, 'project' | 'epoch' | 'mapVersion' | 'leaseToken'>;

/** Repeats, loses and swaps frames, as a queue may (L3). */
function disturbed(random: SeededRandom, frames: readonly StreamFrame[]): StreamFrame[] {
  const out = frames.flatMap((frame) => (random.chance(0.1) ? [] : random.chance(0.2) ? [frame, frame] : [frame]));
  for (let i = 1; i < out.length; i++) {
    if (!random.chance(0.15)) continue;
    const [a, b] = [out[i - 1], out[i]];
    if (a && b) [out[i - 1], out[i]] = [b, a];
  }
  return out;
}

/**
 * Drives a worker over `store` with a random history through a queue that misbehaves, until everything is applied, and
 * compares each checkpoint that was announced with the tables at that commit: rows, checksums, counts, membership.
 */
export async function expectConvergence(options: {
  store: BucketStore;
  clock: Clock;
  project: ProjectId;
  seed: number;
  transactions: number;
}): Promise<void> {
  const { store, clock, project } = options;
  const random = randomFrom(options.seed);
  const history = randomHistory(random, options.transactions);
  const base = await servingEpoch(store, project);
  const checkpoints: Checkpoint[] = [];
  const queue = createMemoryOpQueue({ bytesMaxPerShard: QUEUE_BYTES_MAX });
  const wakeUps = createMemoryWakeUps();
  wakeUps.subscribe(project, (wakeUp) => {
    if (wakeUp.kind === 'checkpoint') checkpoints.push(wakeUp.checkpoint);
  });
  const logger = createLogger({ service: 'test', level: 'error', clock });
  const worker = createBucketWorker({ store, queue, wakeUps, clock, logger });

  const last = history.at(-1)?.lsn ?? START_LSN;
  for (let round = 0; ; round++) {
    const applied = await appliedOf(store, project);
    if (comparePositions(applied, barrierAt(last)) === 0) break;
    expect(round).toBeLessThan(50);
    const durable = history.filter(({ lsn }) => comparePositions(barrierAt(lsn), applied) <= 0).length;
    const frames = cut(random, history, random.int(0, durable), base);
    const sent = round < 20 ? disturbed(random, frames) : frames;
    await runUntilTaken(worker, { project, queue, frames: sent });
  }
  const readable = history.filter(({ lsn }) => checkpoints.some((checkpoint) => checkpoint.lsn === lsn));
  expect(readable.at(-1)?.lsn).toBe(last);
  for (const transaction of readable) await expectTables(store, project, transaction);
}

async function servingEpoch(store: BucketStore, project: ProjectId): Promise<FrameBase> {
  const token = (await store.acquireLease(project, 'test', 1_000_000)) as LeaseToken;
  const epoch = await store.openEpoch(project, token, identity, barrierAt(START_LSN), 1);
  const plans = [{ name: 'items', contentHash: 'items-1', plan: itemsPlan }];
  const shardLeaseToken = (await store.acquireShardLease(project, 0, 'test', 1_000_000)) as ShardLeaseToken;
  const streams = (await store.addStreams(project, token, epoch, plans, START_LSN)).map((stream) => stream.stream);
  await store.setBackfillPoint(project, token, streams, POINT_LSN);
  for (const table of ['public.items', 'public.members'])
    await store.applySnapshotPart({
      ...{ project, epoch, leaseToken: token, shard: 0, shardLeaseToken, streams, pointLsn: POINT_LSN, table },
      ...{ part: 0, last: true },
      ...{ chunks: [], memberships: [], issues: [] },
    });
  const base = { project, epoch, mapVersion: 1, leaseToken: token };
  const prev = barrierAt(START_LSN);
  await store.applyFrame({
    ...{ ...base, shard: 0, shardLeaseToken, prev, end: barrierAt(POINT_LSN), endLsn: POINT_LSN, committedAtMs: 0 },
    ...{ appliedBefore: prev, streams, chunks: [], memberships: [], truncates: [], issues: [] },
  });
  await store.switchStreams(project, token, epoch, { show: streams, drop: [] });
  await store.releaseShardLease(project, 0, shardLeaseToken);
  return base;
}

async function appliedOf(store: BucketStore, project: ProjectId): Promise<Position> {
  const source = await store.readSource(project);
  return source?.serving?.shards[0]?.applied ?? barrierAt(START_LSN);
}

async function runUntilTaken(
  worker: ReturnType<typeof createBucketWorker>,
  options: { project: ProjectId; queue: ReturnType<typeof createMemoryOpQueue>; frames: readonly Frame[] },
): Promise<void> {
  const { project, queue, frames } = options;
  const stop = new AbortController();
  const running = worker.run(project, 0, stop.signal);
  for (const frame of frames) await queue.publish(frame, stop.signal);
  // A frame as large as the bound gets its room only when all before it are done.
  await queue.publish({ ...emptyFrame(project), changes: new Uint8Array(QUEUE_BYTES_MAX) }, stop.signal);
  stop.abort();
  await running;
  await queue.clear(project);
}

/** Of an epoch that never was: dropped by whoever takes it. */
function emptyFrame(project: ProjectId): StreamFrame {
  return {
    ...{ kind: 'stream', project, epoch: 999 as Epoch, shard: 0, mapVersion: 1, leaseToken: 0n as LeaseToken },
    ...{ prev: barrierAt(0n as Lsn), end: barrierAt(1n as Lsn), endLsn: 0n as Lsn, committedAtMs: 0 },
    changes: new Uint8Array(0),
  };
}

async function expectTables(store: BucketStore, project: ProjectId, transaction: Transaction): Promise<void> {
  const { lsn, after } = transaction;
  const stream = (await store.readStreams(project))[0]?.stream as StreamNo;
  const refs: BucketRef[] = [];
  for (const disjunct of [0, 1]) {
    for (const letter of letters) {
      const ref = { stream, bucket: bucketIdOf(stream, disjunct, paramKey(letter)) };
      refs.push(ref);
      const rows = reduceChunks(await chunksOf(store, project, ref, lsn));
      const wanted = rowsWhere(after.items, disjunct + 1, letter);
      expect(rows, `bucket ${disjunct} ${letter} at ${lsn}`).toEqual(wanted);
      const totals = (await store.readSums(project, [ref], lsn)).get(ref.bucket) ?? { checksum: 0n, rows: 0 };
      expect(totals, `sum ${disjunct} ${letter} at ${lsn}`).toEqual(totalsOf(wanted, 'items'));
    }
  }
  for (const letter of letters) {
    const lookup = lookupIdOf(stream, 0, paramKey(letter));
    const values = await store.readMembership(project, [{ stream, membership: 0, lookup }], lsn);
    const teams = [...after.members.values()].filter(([, person]) => person === letter).map(([, , team]) => team);
    expect(values.get(lookup) ?? [], `members of ${letter} at ${lsn}`).toEqual(
      [...new Set(teams.map((team) => paramKey(String(team))))].sort(),
    );
  }
}

/** The key of one text parameter, as the rules engine writes it. */
export function paramKey(text: string): string {
  const out = new ByteWriter();
  appendParamText(out, 'text', text);
  return Buffer.from(out.take()).toString('latin1');
}

function rowsWhere(items: ReadonlyMap<string, Fields>, column: number, letter: string): Reduced {
  const rows: Reduced = new Map();
  for (const fields of items.values()) {
    if (fields[column] !== letter) continue;
    const out = new ByteWriter();
    for (const at of [0, 1, 3]) {
      const field = fields[at];
      if (typeof field === 'string') writeTextCell(out, new TextEncoder().encode(field));
      else out.u8(0);
    }
    const row = hexFromBytes(out.take());
    const key = new ByteWriter();
    writeTextCell(key, new TextEncoder().encode(String(fields[0])));
    rows.set(hexFromBytes(key.take()), row);
  }
  return rows;
}

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
  type StreamNo,
  writeTextCell,
} from '@sluice/domain';
import { isAppError } from '@sluice/errors';
import {
  appendRecord,
  createMemoryOpQueue,
  createMemoryWakeUps,
  type Frame,
  type SnapshotFrame,
  type StreamFrame,
  type WakeUp,
} from '@sluice/op-queue';
import { appendParamText } from '@sluice/pg-values';
import type { ReplicaIdentity } from '@sluice/pgoutput';
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
  itemColumns,
  itemsPlan,
  MEMBERS_OID,
  memberColumns,
  relationMessage,
  shareOf,
  type TransactionPart,
  truncateMessage,
  updateMessage,
} from './wal.fixture.ts';

const letters = ['p', 'q', 'r'];
const QUEUE_BYTES_MAX = 1 << 20;
const identity = { slot: 's', publication: 'p', systemId: '1', timeline: 1, databaseOid: 1 };
const START_LSN = 1000n as Lsn;
const PARTS_MAX = 4;

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
/** What updates and deletes of either table tell of the old row. */
interface Identities {
  readonly items: ReplicaIdentity;
  readonly members: ReplicaIdentity;
  /** A row that moves to another key brings all its values: without old rows another shard could not know them. */
  readonly movesWhole: boolean;
}

/** A random history of both tables, with what they hold after each transaction. */
function randomHistory(random: SeededRandom, identities: Identities, count: number): Transaction[] {
  let model: Model = { items: new Map(), members: new Map() };
  let lsn = 2000n;
  return Array.from({ length: count }, () => {
    model = { items: new Map(model.items), members: new Map(model.members) };
    const messages = Array.from({ length: random.int(0, 6) }, () => randomChange(random, identities, model)).filter(
      (message) => message !== undefined,
    );
    lsn += BigInt(random.int(10, 100_000));
    return { lsn: lsn as Lsn, endLsn: (lsn + 8n) as Lsn, messages, after: model };
  });
}

function randomChange(random: SeededRandom, identities: Identities, model: Model): Uint8Array | undefined {
  const isItem = random.chance(0.75);
  const table = isItem ? model.items : model.members;
  const oid = isItem ? ITEMS_OID : MEMBERS_OID;
  const identity = isItem ? identities.items : identities.members;
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
    return deleteMessage(oid, old, identity);
  }
  const movesWhole = identities.movesWhole && identity !== 'f';
  return randomUpdate(random, { table, oid, identity, old, fresh, movesWhole });
}

function randomItem(random: SeededRandom, id: string): Fields {
  const letterOrNull = () => (random.chance(0.15) ? null : random.pick(letters));
  const body = random.chance(0.1) ? 'x'.repeat(random.int(1, 20_000)) : `body ${random.int(0, 3)}`;
  return [id, letterOrNull(), letterOrNull(), body];
}

function randomUpdate(
  random: SeededRandom,
  change: {
    table: Map<string, Fields>;
    oid: number;
    identity: ReplicaIdentity;
    old: Fields;
    fresh: Fields;
    movesWhole: boolean;
  },
): Uint8Array | undefined {
  const { table, oid, identity, old, fresh } = change;
  if (random.chance(0.1)) return updateMessage(oid, old, old, identity);
  const isMove = random.chance(0.2);
  const id = isMove ? `k${random.int(0, 12)}` : String(old[0]);
  if (isMove && table.has(id)) return undefined;
  table.delete(String(old[0]));
  if (oid === ITEMS_OID && random.chance(0.3) && !(isMove && change.movesWhole)) {
    // An unchanged TOAST value: not in the new tuple, only in the old one, if that comes (L7).
    const columns = [id, ...(isMove ? old : fresh).slice(1, 3)];
    table.set(id, [...columns, old[3] as string]);
    return updateMessage(oid, old, [...columns, undefined], identity);
  }
  const moved = [id, ...(isMove ? old : fresh).slice(1)];
  table.set(id, moved);
  return updateMessage(oid, old, moved, identity);
}

/**
 * Cuts the history after `from` into frames, anew each time: within transactions, and with barriers left out from
 * `loose` on; before it each commit is a barrier. Each cut gives a frame for every shard.
 */
function cut(
  random: SeededRandom,
  history: readonly Transaction[],
  range: { readonly from: number; readonly loose: number },
  { base, relations }: { readonly base: FrameBase; readonly relations: readonly Uint8Array[] },
): StreamFrame[] {
  const { shards, ...head } = base;
  const frames: StreamFrame[] = [];
  let prev: Position = barrierAt(history[range.from - 1]?.lsn ?? START_LSN);
  let parts: TransactionPart[] = [];
  const close = (end: Position, endLsn: Lsn): void => {
    for (let shard = 0; shard < shards; shard++) {
      const shares = parts.map(({ messages, ...part }) => ({
        ...part,
        messages: messages.map((message) => message && shareOf(message, shard, shards)),
      }));
      const changes = changesOf(shares, relations);
      frames.push({ ...head, kind: 'stream', shard, prev, end, endLsn, committedAtMs: 1, changes });
    }
    prev = end;
    parts = [];
  };
  history.slice(range.from).forEach(({ lsn, endLsn, messages }, at) => {
    let ordinal = 1;
    while (messages.length - ordinal >= 0 && random.chance(0.25)) {
      const upTo = random.int(ordinal, messages.length);
      parts.push({ lsn, ordinal, messages: messages.slice(ordinal - 1, upTo) });
      close({ lsn, seq: upTo * SEQ_PER_ORDINAL + SEQ_PER_ORDINAL - 1 }, 0n as Lsn);
      ordinal = upTo + 1;
    }
    parts.push({ lsn, ordinal, messages: messages.slice(ordinal - 1) });
    const isLast = range.from + at === history.length - 1;
    if (isLast || range.from + at < range.loose || random.chance(0.6)) close(barrierAt(lsn), endLsn);
  });
  return frames;
}
type FrameBase = Pick<StreamFrame, 'project' | 'epoch' | 'mapVersion' | 'leaseToken'> & { readonly shards: number };

/** Repeats, loses and swaps frames, as a queue may (L3). */
function disturbed(random: SeededRandom, frames: readonly Frame[]): Frame[] {
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
 * compares each checkpoint that was announced with the tables at that commit: rows, checksums, counts, membership. The
 * tables are copied under a random point, while their history is streamed on; what a table tells of old rows is random too.
 * Gives false for a copy that had to be given up.
 */
export async function expectConvergence(options: {
  store: BucketStore;
  clock: Clock;
  project: ProjectId;
  seed: number;
  transactions: number;
  shards: number;
}): Promise<boolean> {
  const { store, clock, project, shards } = options;
  const random = randomFrom(options.seed);
  const identity = (): ReplicaIdentity => random.pick(['f', 'd', 'i'] as const);
  const identities = { items: identity(), members: identity(), movesWhole: shards > 1 };
  const history = randomHistory(random, identities, options.transactions);
  const source = await openSource(store, { project, shards }, identities);
  const checkpoints: Checkpoint[] = [];
  const told: WakeUp[] = [];
  const queue = createMemoryOpQueue({ bytesMaxPerShard: QUEUE_BYTES_MAX });
  const wakeUps = createMemoryWakeUps();
  wakeUps.subscribe(project, (wakeUp) => {
    told.push(wakeUp);
    if (wakeUp.kind === 'checkpoint') checkpoints.push(wakeUp.checkpoint);
  });
  const logger = createLogger({ service: 'test', level: 'error', clock });
  const worker = createBucketWorker({ store, queue, wakeUps, clock, logger });
  const stretch = new Stretch(random, {
    store,
    project,
    history,
    source,
    run: (frames) => runUntilTaken(worker, { project, queue, shards, frames }),
  });

  // The point is known only some time after the stream began, which may have passed it by then.
  const pointAt = random.int(0, Math.floor(history.length / 2));
  const point = ((history[pointAt - 1]?.lsn ?? START_LSN) + BigInt(random.int(1, 5))) as Lsn;
  await stretch.upTo(random.int(0, Math.floor(history.length / 2)), { loose: history.length });
  const { token, streams } = source;
  await store.setBackfillPoint(project, token, streams, point);
  wakeUps.publish({ kind: 'streams', project });
  const parts = partsOf(random, source, point, history[pointAt - 1]?.after);
  const loadedAt = random.int(Math.max(pointAt + 1, stretch.applied), history.length - 2);
  await stretch.upTo(loadedAt, { loose: pointAt, parts });
  const isShown = await isSwitched(store.switchStreams(project, token, source.base.epoch, { show: streams, drop: [] }));
  // A row moved before the point was known, and is in the copy by another key: the copy is given up (L17).
  if (!isShown) return false;
  wakeUps.publish({ kind: 'streams', project });
  await stretch.upTo(history.length, { loose: 0 });

  const readable = history.filter(({ lsn }) => checkpoints.some((checkpoint) => checkpoint.lsn === lsn));
  expect(readable.at(-1)?.lsn).toBe(history.at(-1)?.lsn);
  for (const transaction of readable) await expectTables(store, project, transaction);
  expectChangesTold(await onlyStream(store, project), readable, told);
  await store.eraseDropped(project, 10_000);
  return true;
}

async function isSwitched(answer: Promise<void>): Promise<boolean> {
  try {
    await answer;
    return true;
  } catch (error) {
    if (isAppError(error, 'SCHEMA_RELOADING')) return false;
    throw error;
  }
}

interface Source {
  readonly base: FrameBase;
  readonly token: LeaseToken;
  readonly streams: readonly StreamNo[];
  readonly relations: readonly Uint8Array[];
}

/** Who was told of a checkpoint and all that led to it must have been told of every bucket that differs from the one before. */
function expectChangesTold(stream: StreamNo, readable: readonly Transaction[], told: readonly WakeUp[]): void {
  for (const [i, to] of readable.entries()) {
    const from = readable[i - 1];
    const names = from && namesTold(told, from.lsn, to.lsn);
    if (!from || !names) continue;
    for (const disjunct of [0, 1])
      for (const letter of letters) {
        const [before, after] = [from, to].map(({ after: model }) => rowsWhere(model.items, disjunct + 1, letter));
        const bucket = bucketIdOf(stream, disjunct, paramKey(letter));
        if (!before || !after || isSameRows(before, after)) continue;
        expect(names.has(bucket), `${disjunct} ${letter} between ${from.lsn} and ${to.lsn}`).toBe(true);
      }
  }
}

function isSameRows(a: Reduced, b: Reduced): boolean {
  return a.size === b.size && [...a].every(([key, row]) => b.get(key) === row);
}

/** Buckets said to have changed in (after, through]; undefined when that was not said in full. */
function namesTold(told: readonly WakeUp[], after: Lsn, through: Lsn): Set<string> | undefined {
  const checkpoint = told.find((wakeUp) => wakeUp.kind === 'checkpoint' && wakeUp.checkpoint.lsn === through);
  if (checkpoint?.kind !== 'checkpoint' || checkpoint.previousLsn > after) return undefined;
  if (checkpoint.shards === 1) return checkpoint.truncated.length > 0 ? undefined : new Set(checkpoint.buckets);
  const parts = told.filter((wakeUp) => wakeUp.kind === 'changed');
  for (let shard = 0; shard < checkpoint.shards; shard++) {
    let covered = after;
    const own = parts.filter((part) => part.shard === shard).sort((a, b) => Number(a.after - b.after));
    for (const part of own) if (part.after <= covered && part.through > covered) covered = part.through;
    if (covered < through) return undefined;
  }
  const concerned = parts.filter((part) => part.after < through && part.through > after);
  // What a TRUNCATE empties is not named.
  if (concerned.some((part) => part.truncated.length > 0)) return undefined;
  return new Set(concerned.flatMap((part) => part.buckets));
}

async function onlyStream(store: BucketStore, project: ProjectId): Promise<StreamNo> {
  return (await store.readStreams(project))[0]?.stream as StreamNo;
}

async function openSource(
  store: BucketStore,
  { project, shards }: { readonly project: ProjectId; readonly shards: number },
  identities: Identities,
): Promise<Source> {
  const token = (await store.acquireLease(project, 'test', 1_000_000)) as LeaseToken;
  const epoch = await store.openEpoch(project, token, identity, barrierAt(START_LSN), shards);
  const rowStates = [
    ...(identities.items === 'f' ? [] : ['public.items']),
    ...(identities.members === 'f' ? [] : ['public.members']),
  ];
  const plans = [{ name: 'items', contentHash: 'items-1', plan: { ...itemsPlan, rowStates } }];
  const streams = (await store.addStreams(project, token, epoch, plans, START_LSN)).map((stream) => stream.stream);
  const relations = [
    relationMessage(ITEMS_OID, 'items', itemColumns, identities.items),
    relationMessage(MEMBERS_OID, 'members', memberColumns, identities.members),
  ];
  return { base: { project, epoch, mapVersion: 1, leaseToken: token, shards }, token, streams, relations };
}

/** Drives frames, and parts of a copy in between, until they are applied. */
class Stretch {
  applied = 0;
  private readonly random: SeededRandom;
  private readonly options: {
    readonly store: BucketStore;
    readonly project: ProjectId;
    readonly history: readonly Transaction[];
    readonly source: Source;
    readonly run: (frames: readonly Frame[]) => Promise<void>;
  };

  constructor(random: SeededRandom, options: Stretch['options']) {
    this.random = random;
    this.options = options;
  }

  async upTo(count: number, how: { readonly loose: number; readonly parts?: readonly SnapshotFrame[] }): Promise<void> {
    const { random } = this;
    const { store, project, source, run } = this.options;
    const history = this.options.history.slice(0, count);
    const last = history.at(-1)?.lsn ?? START_LSN;
    const { parts = [] } = how;
    for (let round = 0; ; round++) {
      const applied = await appliedOf(store, project);
      const loaded = parts.length === 0 || (await isLoaded(store, project));
      if (comparePositions(applied, barrierAt(last)) === 0 && loaded) break;
      expect(round).toBeLessThan(50);
      const durable = history.filter(({ lsn }) => comparePositions(barrierAt(lsn), applied) <= 0).length;
      const frames: Frame[] = cut(random, history, { from: random.int(0, durable), loose: how.loose }, source);
      for (const part of parts) frames.splice(random.int(0, frames.length), 0, part);
      await run(round < 20 ? disturbed(random, frames) : frames);
    }
    this.applied = count;
  }
}

/** The tables as of the point, in parts that hold their rows in any order. */
function partsOf(
  random: SeededRandom,
  { base, streams, relations }: Source,
  pointLsn: Lsn,
  model: Model | undefined,
): SnapshotFrame[] {
  const tables = [
    { table: 'items', oid: ITEMS_OID, rows: [...(model?.items.values() ?? [])] },
    { table: 'members', oid: MEMBERS_OID, rows: [...(model?.members.values() ?? [])] },
  ];
  return tables.flatMap(({ table, oid, rows }, at) => {
    const count = random.int(1, PARTS_MAX);
    const rowsOfPart: Fields[][] = Array.from({ length: count }, () => []);
    for (const row of rows) random.pick(rowsOfPart).push(row);
    const { shards } = base;
    return rowsOfPart.flatMap((fields, of) =>
      Array.from({ length: shards }, (_, shard): SnapshotFrame => {
        const out = new ByteWriter();
        appendRecord(out, relations[at] as Uint8Array);
        for (const row of fields) {
          const message = shareOf(insertMessage(oid, row), shard, shards);
          if (message) appendRecord(out, message);
        }
        const { project, epoch, leaseToken } = base;
        const part = of * shards + shard;
        const place = { streams, pointLsn, schema: 'public', table, part, last: part === count * shards - 1 };
        return { kind: 'snapshot', project, epoch, shard, leaseToken, ...place, changes: out.take() };
      }),
    );
  });
}

async function isLoaded(store: BucketStore, project: ProjectId): Promise<boolean> {
  const streams = await store.readStreams(project);
  return streams.every(({ loadedTables }) => loadedTables.length === 2);
}

/** How far the shard that is furthest behind is applied. */
async function appliedOf(store: BucketStore, project: ProjectId): Promise<Position> {
  const source = await store.readSource(project);
  const applied = (source?.serving ?? source?.building)?.shards.map((shard) => shard.applied) ?? [];
  return applied.reduce((a, b) => (comparePositions(b, a) < 0 ? b : a));
}

async function runUntilTaken(
  worker: ReturnType<typeof createBucketWorker>,
  options: {
    project: ProjectId;
    queue: ReturnType<typeof createMemoryOpQueue>;
    shards: number;
    frames: readonly Frame[];
  },
): Promise<void> {
  const { project, queue, shards, frames } = options;
  const stop = new AbortController();
  const numbers = Array.from({ length: shards }, (_, shard) => shard);
  const running = numbers.map((shard) => worker.run(project, shard, stop.signal));
  await Promise.all(
    numbers.map(async (shard) => {
      for (const frame of frames) if (frame.shard === shard) await queue.publish(frame, stop.signal);
      // A frame as large as the bound gets its room only when all before it are done.
      await queue.publish({ ...emptyFrame(project), shard, changes: new Uint8Array(QUEUE_BYTES_MAX) }, stop.signal);
    }),
  );
  stop.abort();
  await Promise.all(running);
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

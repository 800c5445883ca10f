import {
  barrierAt,
  type LeaseToken,
  type Position,
  type ProjectId,
  SEQ_PER_ORDINAL,
  type ShardLeaseToken,
  type StreamNo,
} from '@sluice/domain';
import { freshDatabase, manualClock, query, type SeededRandom, seededRandom } from '@sluice/testkit';
import { expect, test } from 'vitest';
import { createMemoryBucketStore } from '../memory/memory-bucket-store.ts';
import type { BucketStore, FrameCommit } from '../port.ts';
import { createPostgresBucketStore } from '../postgres/postgres-bucket-store.ts';
import { migrateBucketStore } from '../sql/migrate.ts';
import { bucketId, chunk, identity, lookupId, lsn, member, truncate } from './store-driver.ts';

type Step = (store: BucketStore) => Promise<unknown>;
const project = 1 as ProjectId;
const TOP = 400;
/** Random calls, sensible and not: both adapters must answer, refuse and keep the same (L3, L4, L5, L10). */
function randomStep(random: SeededRandom): Step {
  const streams = () => Array.from({ length: random.int(1, 3) }, () => random.int(1, 6) as StreamNo);
  const position = (): Position =>
    random.chance(0.6)
      ? barrierAt(lsn(random.int(10, 30) * 10))
      : { lsn: lsn(random.int(10, 30) * 10), seq: random.int(0, 3) * SEQ_PER_ORDINAL };
  const token = BigInt(random.pick([1, 1, 1, 2, 3])) as LeaseToken;
  const epoch = random.pick([1, 1, 1, 2, 3]) as FrameCommit['epoch'];
  const shardLeaseToken = BigInt(random.pick([1, 1, 1, 1, 1, 2])) as ShardLeaseToken;
  const chunks = (of: readonly StreamNo[]) =>
    Array.from({ length: random.int(0, 3) }, (_, i) =>
      chunk(random.pick(of), random.int(1, 3), `${i} ${random.int(0, 1e9)}`, {
        rowsDelta: random.int(-2, 2),
        checksumDelta: BigInt.asUintN(64, BigInt(random.int(-1000, 1000))),
      }),
    );
  const members = (of: readonly StreamNo[], at: Position) =>
    Array.from({ length: random.int(0, 2) }, (_, i) =>
      member(random.pick(of), {
        at: { lsn: at.lsn, seq: at.seq + i },
        row: `r${random.int(0, 2)}`,
        value: `v${random.int(0, 2)}`,
        present: random.chance(0.7),
        lookup: random.int(1, 2),
      }),
    );
  const steps: (() => Step)[] = [
    () => {
      const holder = random.pick(['a', 'a', 'b']);
      return (store) => store.acquireLease(project, holder, 1_000_000_000);
    },
    () => {
      const holder = random.pick(['a', 'a', 'a', 'b']);
      const shard = random.pick([0, 1]);
      return (store) => store.acquireShardLease(project, shard, holder, 1_000_000_000);
    },
    () => {
      const shard = random.pick([0, 1]);
      const isReleased = random.chance(0.5);
      return async (store) =>
        isReleased
          ? store.releaseShardLease(project, shard, shardLeaseToken)
          : store.renewShardLease(project, shard, shardLeaseToken, 1_000_000_000);
    },
    () => {
      const shards = random.pick([1, 1, 2]);
      const start = barrierAt(lsn(random.int(9, 12) * 10));
      return (store) => store.openEpoch(project, token, identity, start, shards);
    },
    () => {
      const at = lsn(random.int(9, 20) * 10);
      return (store) => store.addStreams(project, token, epoch, [{ name: 's', contentHash: 'h', plan: {} }], at);
    },
    () => {
      const [of, point] = [[...new Set(streams())], lsn(random.int(9, 25) * 10)];
      return (store) => store.setBackfillPoint(project, token, of, point);
    },
    () => {
      const change = {
        show: random.chance(0.7) ? [...new Set(streams())] : [],
        drop: random.chance(0.2) ? [random.int(1, 6) as StreamNo] : [],
      };
      return (store) => store.switchStreams(project, token, epoch, change);
    },
    () => {
      const hold = random.chance(0.5);
      return (store) => store.holdCheckpoints(project, token, epoch, hold);
    },
    () => {
      const of = [...new Set(streams())];
      const point = lsn(random.int(9, 25) * 10);
      const part = {
        ...{
          project,
          epoch,
          leaseToken: token,
          shard: 0,
          shardLeaseToken,
          streams: of,
          pointLsn: point,
          table: 'public.t',
        },
        ...{ part: random.int(0, 1) * 65_536 + random.int(0, 2), last: random.chance(0.4), chunks: chunks(of) },
        ...{ memberships: members(of, { lsn: point, seq: 0 }), issues: [] },
      };
      return (store) => store.applySnapshotPart(part);
    },
    () => {
      const of = [...new Set(streams())];
      const ranges = [undefined, ['k']].map((bound) => ({ lower: bound, upper: bound }));
      const plan = { table: 'public.t', ranges: ranges.slice(random.int(0, 1)) };
      return (store) => store.planCopy(project, token, of, plan);
    },
    () => {
      const [of, point] = [[...new Set(streams())], lsn(random.int(9, 25) * 10)];
      return (store) => store.resumeCopy(project, token, of, point);
    },
    () => {
      const stream = random.int(1, 6) as StreamNo;
      const rowsDelta = random.int(-2, 2);
      const correction = { bucket: bucketId(random.int(1, 3)), rowsDelta, checksumDelta: 2n ** 63n + 5n };
      const settlement = { stream, corrections: random.chance(0.5) ? [correction] : [], last: random.chance(0.7) };
      return (store) => store.settleCopy(project, token, settlement);
    },
    () => {
      const request = {
        ...{ stream: random.int(1, 6) as StreamNo, through: lsn(random.int(10, 30) * 10) },
        ...{ after: random.chance(0.5) ? bucketId(1) : undefined, bucketsMax: random.int(1, 3) },
      };
      return async (store) => {
        // What is left of a stream that is being erased is each adapter's own.
        const inUse = (await store.readStreams(project)).filter(({ droppedAfter }) => droppedAfter === undefined);
        return inUse.some(({ stream }) => stream === request.stream) ? store.readUnsettled(project, request) : [];
      };
    },
    () => {
      const stream = random.int(1, 6) as StreamNo;
      return (store) => store.readCopy(project, stream);
    },
    () => {
      const rowsMax = random.pick([1, 1000]);
      return (store) => store.eraseDropped(project, rowsMax);
    },
    ...Array.from({ length: 12 }, () => () => frameStep()),
  ];
  function frameStep(): Step {
    const shard = random.pick([0, 0, 0, 1]);
    const end = position();
    const content = { chunks: random.next(), members: random.next() };
    const fit = random.chance(0.85);
    const seed = {
      truncates: random.chance(0.1),
      lost: random.chance(0.1),
      stale: random.chance(0.1),
      overlaps: random.chance(0.3),
    };
    const pieces = {
      chunks: chunks([1, 2, 3, 4, 5, 6] as StreamNo[]),
      // Beyond whatever is applied, as a worker sends them: two at most, the second one at the frame's end.
      members: members([1, 2, 3, 4, 5, 6] as StreamNo[], { lsn: end.lsn, seq: Math.max(0, end.seq - 1) }),
    };
    return async (store) => {
      const source = await store.readSource(project);
      const record = [source?.serving, source?.building].find((candidate) => candidate?.epoch === epoch);
      const applied = record?.shards[shard]?.applied ?? barrierAt(lsn(90));
      const inUse = (await store.readStreams(project))
        .filter((stream) => stream.epoch === epoch && stream.droppedAfter === undefined)
        .map((stream) => stream.stream);
      const of = fit ? inUse : inUse.slice(1);
      const early = barrierAt(lsn(90));
      const prev = seed.lost ? { lsn: lsn(Number(applied.lsn) + 5), seq: 0 } : seed.overlaps ? early : applied;
      return store.applyFrame({
        ...{ project, epoch, shard, mapVersion: 1, leaseToken: fit ? (source?.leaseToken ?? token) : token },
        ...{ prev, end, endLsn: lsn(Number(end.lsn) + 8), committedAtMs: Number(end.lsn), shardLeaseToken },
        appliedBefore: seed.stale ? early : applied,
        streams: of,
        chunks: content.chunks < 0.8 ? pieces.chunks.filter(({ stream }) => of.includes(stream)) : [],
        memberships: content.members < 0.8 ? pieces.members.filter(({ stream }) => of.includes(stream)) : [],
        truncates:
          seed.truncates && of[0] !== undefined
            ? [truncate(of[0], Number(end.lsn), 1), truncate(of[0], Number(end.lsn), 1, 0)]
            : [],
        issues: [],
      });
    };
  }
  return random.pick(steps)();
}

/** The answer, or the kind of refusal. */
async function answerOf(work: Promise<unknown>): Promise<unknown> {
  try {
    return { answer: await work };
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    return { refused: 'code' in error ? error.code : error.name };
  }
}

function kindOf(answer: unknown): string {
  const { answer: given, refused } = answer as { answer?: unknown; refused?: string };
  if (refused !== undefined) return refused;
  return typeof given === 'object' && given !== null && 'kind' in given ? String(given.kind) : String(given);
}

/** Everything that can be read. */
async function everything(store: BucketStore): Promise<unknown> {
  const streams = await store.readStreams(project);
  const reads = streams.flatMap(({ stream }) =>
    [150, 220, TOP].map(async (through) => {
      const buckets = [1, 2, 3].map((bucket) => ({ stream, bucket: bucketId(bucket) }));
      const lookups = [1, 2].map((lookup) => ({ stream, membership: 0, lookup: lookupId(lookup) }));
      const range = { after: lsn(100), through: lsn(through) };
      const page = await store.readChunks(project, { buckets, ...range, bytesMax: 1 << 20, cursor: undefined });
      const plain = page.chunks.map((one) => ({ ...one, directory: [...one.directory], payload: [...one.payload] }));
      const sorted = <K, V>(map: Map<K, V>) => [...map].sort((a, b) => (String(a[0]) < String(b[0]) ? -1 : 1));
      return [
        plain,
        sorted(await store.readSums(project, buckets, range.through)),
        sorted(await store.readMembership(project, lookups, range.through)),
        sorted(await store.readMembershipTouched(project, lookups, range.after, range.through)),
        await store.readTruncated(project, [stream], range.after, range.through),
      ];
    }),
  );
  return [await store.readSource(project), await store.readCheckpoint(project), streams, await Promise.all(reads)];
}

const ROUNDS_MIN = 6;
const ROUNDS_MAX = 60;
/** Calls in which nearly everything is refused would prove nothing: there are rounds until each of these was an answer. */
const KINDS = ['applied', 'gap', 'skipped', 'STORE_FENCED'];

test('random calls leave the memory and the Postgres adapter in the same state, with the same answers', async () => {
  const random = seededRandom();
  await using database = await freshDatabase('differential');
  await migrateBucketStore(database.url);
  const tables = await query<{ name: string }>(
    database.url,
    `select format('%I.%I', schemaname, tablename) as name from pg_tables
    where schemaname = 'sluice_store' and tablename <> 'migration'`,
  );
  const postgres = createPostgresBucketStore({ url: database.url, poolMax: 4 });
  const kinds = new Map<string, number>();
  try {
    const isMissing = (): boolean => KINDS.some((kind) => !kinds.has(kind));
    for (let round = 0; round < ROUNDS_MIN || (isMissing() && round < ROUNDS_MAX); round++) {
      const memory = createMemoryBucketStore(manualClock());
      await query(database.url, `truncate ${tables.map(({ name }) => name).join(', ')}`);
      for (let i = 0; i < 60; i++) {
        const step = i === 0 ? firstSteps : randomStep(random);
        const [wanted, got] = [await answerOf(step(memory)), await answerOf(step(postgres))];
        expect(got, `round ${round}, step ${i}`).toEqual(wanted);
        const kind = kindOf(wanted);
        kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
      }
      expect(await everything(postgres), `round ${round}`).toEqual(await everything(memory));
    }
  } finally {
    await postgres.close();
  }
  expect([...kinds.keys()]).toEqual(expect.arrayContaining([...KINDS]));
});

const firstSteps: Step = async (store) => {
  const token = (await store.acquireLease(project, 'a', 1_000_000_000)) as LeaseToken;
  for (const shard of [0, 1]) await store.acquireShardLease(project, shard, 'a', 1_000_000_000);
  const epoch = await store.openEpoch(project, token, identity, barrierAt(lsn(99)), 1);
  const added = ['x', 'y'].map((name) => ({ name, contentHash: name, plan: {} }));
  return store.addStreams(project, token, epoch, added, lsn(99));
};

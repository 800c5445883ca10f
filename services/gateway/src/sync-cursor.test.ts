import { type BucketStore, createMemoryBucketStore } from '@sluice/bucket-store';
import type { BucketId, Lsn } from '@sluice/domain';
import { isAppError } from '@sluice/errors';
import { createMemoryWakeUps } from '@sluice/op-queue';
import { manualClock, randomFrom, type SeededRandom, seededRandom, waitFor } from '@sluice/testkit';
import { describe, expect, it } from 'vitest';
import { ByteLru } from './feed/byte-lru.ts';
import { contentBytes, type FeedCaches, framePageBytes } from './feed/project-feed.ts';
import { limiter } from './limiter.ts';
import { projectRoomsOf } from './project-rooms.ts';
import { SyncCursor } from './sync-cursor.ts';
import { bucketsOfDoc, bucketsOfUser, encodeDoc } from './testing/docs-rules.ts';
import { type Change, ModelSource } from './testing/model-source.ts';
import { Replica } from './testing/replica.ts';

const POLL_MS = 2000;
const HISTORIES = 25;
const users = ['ann', 'bob', 'cem', 'dia'];
const teams = ['red', 'green', 'blue', 'grey', 'ochre'];

function cachesOf(bytes: number): FeedCaches {
  return {
    pages: new ByteLru(bytes, framePageBytes),
    contents: new ByteLru(bytes, contentBytes),
    limitReductions: limiter(2),
  };
}

/** The store's reads, each some turns of the event loop late, so that commits fall between any two of them. */
function lateReads(store: BucketStore, random: SeededRandom): BucketStore {
  return new Proxy(store, {
    get(target, name: keyof BucketStore) {
      const method = target[name];
      if (!name.startsWith('read')) return method.bind(target);
      return async (...given: unknown[]) => {
        for (let turns = random.int(0, 3); turns > 0; turns--) await new Promise((resolve) => setImmediate(resolve));
        return Reflect.apply(method, target, given);
      };
    },
  });
}

async function stack(options: { cacheBytes?: number; lateness?: SeededRandom } = {}) {
  const clock = manualClock();
  const memory = createMemoryBucketStore(clock);
  const store = options.lateness ? lateReads(memory, options.lateness) : memory;
  const wakeUps = createMemoryWakeUps();
  const source = new ModelSource({ store, wakeUps, clock });
  await source.begin();
  const open = () =>
    projectRoomsOf({
      project: source.project,
      store,
      wakeUps,
      clock,
      caches: cachesOf(options.cacheBytes ?? 1024 * 1024),
      pollMs: POLL_MS,
      onSource: () => {},
      onProjectChanged: () => {},
      onFailure: (error) => {
        throw error;
      },
    });
  const rooms = open();
  await clock.advance(0);
  return { clock, store, wakeUps, source, rooms, open };
}
type Stack = Awaited<ReturnType<typeof stack>>;

/** A client with its session, without a socket between them. */
class DirectClient {
  replica = new Replica();
  wakes = 0;
  isDirty = true;
  readonly user: string;
  private readonly stack: Stack;
  private cursor: SyncCursor;

  constructor(stack: Stack, user: string) {
    this.stack = stack;
    this.user = user;
    this.cursor = this.connected();
  }
  private connected(): SyncCursor {
    this.isDirty = true;
    return new SyncCursor(this.stack.rooms, { sub: this.user }, this.replica.resume, () => {
      this.wakes++;
      this.isDirty = true;
    });
  }
  reconnect(): void {
    this.cursor.close();
    this.replica.disconnect();
    this.cursor = this.connected();
  }
  close(): void {
    this.cursor.close();
  }
  async step(evenIfBare = false): Promise<void> {
    this.isDirty = false;
    const before = this.replica.lsn;
    const sent = await this.cursor.next(
      {
        send: (frames) => {
          for (const frame of frames) this.replica.receive(frame);
        },
        ready: () => Promise.resolve(),
      },
      { evenIfBare, onBegin: () => {} },
    );
    if (sent) this.check(before);
  }

  /** L12 and L13: the rows are the user's at that checkpoint, and none that came was ever anybody else's alone. */
  private check(before: Lsn | undefined): void {
    const { source } = this.stack;
    const { lsn, lastCheckpoint, lastPuts, buckets } = this.replica;
    if (lsn === undefined || !lastCheckpoint) throw new Error('nothing applied');
    const granted = bucketsOfUser(source.streamAt(lsn), source.at(lsn), this.user);
    expect(new Set(buckets.keys())).toEqual(granted);
    expect(this.replica.rows()).toEqual(expectedRows(this.stack, this.user, lsn));
    for (const put of lastPuts) {
      const versions = versionsInBucket(this.stack, put.bucket, put.isReplace ? lsn : (before ?? lsn), lsn, this.user);
      expect(versions.has(put.row), 'a row version outside the grant').toBe(true);
    }
  }
}

function expectedRows({ source }: Stack, user: string, lsn: Lsn): string[] {
  const { docs, members } = source.at(lsn);
  const teamsOfUser = new Set([...members.values()].filter((m) => m.user === user).map((m) => m.team));
  return [...docs]
    .filter(([, doc]) => doc.owner === user || teamsOfUser.has(doc.team))
    .map(([id, doc]) => Buffer.from(encodeDoc(id, doc).row).toString('hex'))
    .sort();
}

/** Row versions that the bucket held at some commit of (from, through], if the user was granted it all along. */
function versionsInBucket({ source }: Stack, bucket: BucketId, from: Lsn, through: Lsn, user: string): Set<string> {
  const rows = new Set<string>();
  const stream = source.streamAt(through);
  const commits = source.snapshots.filter(({ lsn }) =>
    from === through ? lsn === through : lsn >= from && lsn <= through,
  );
  for (const { lsn, snapshot } of commits) {
    if (!bucketsOfUser(stream, snapshot, user).has(bucket)) return new Set();
    if (lsn === from && from !== through) continue;
    for (const [id, doc] of snapshot.docs)
      if (bucketsOfDoc(stream, doc).includes(bucket)) rows.add(Buffer.from(encodeDoc(id, doc).row).toString('hex'));
  }
  return rows;
}

const doc = (id: number, owner: string, team: string, body = `body ${id}`): Change => ({
  kind: 'doc',
  id,
  doc: { owner, team, body },
});
const member = (id: number, user: string, team: string): Change => ({ kind: 'member', id, member: { user, team } });
const noMember = (id: number): Change => ({ kind: 'member', id, member: undefined });

describe('one session', () => {
  it('L12: a first checkpoint holds what the claims give, and only that', async () => {
    const s = await stack();
    await s.source.commit([
      member(1, 'ann', 'red'),
      doc(1, 'ann', 'blue'),
      doc(2, 'bob', 'red'),
      doc(3, 'bob', 'blue'),
    ]);
    const client = new DirectClient(s, 'ann');
    await client.step();
    expect(client.replica.rows()).toHaveLength(2);
    expect(client.replica.lastCheckpoint?.reset).toBe(false);
  });

  it('a user without any row still gets a checkpoint, so that the client knows that it is complete', async () => {
    const s = await stack();
    const client = new DirectClient(s, 'nobody');
    await client.step();
    expect(client.replica.applied).toHaveLength(1);
  });

  it('L13: only sessions whose buckets or memberships changed wake', async () => {
    const s = await stack();
    const ann = new DirectClient(s, 'ann');
    const bob = new DirectClient(s, 'bob');
    await ann.step();
    await bob.step();
    await s.source.commit([doc(1, 'ann', 'red')]);
    await s.clock.advance(0);
    expect([ann.isDirty, bob.isDirty]).toEqual([true, false]);
    await ann.step();
    await s.source.commit([member(1, 'bob', 'red')]);
    await s.clock.advance(0);
    expect([ann.isDirty, bob.isDirty]).toEqual([false, true]);
    await bob.step();
    expect(bob.replica.rows()).toHaveLength(1);
  });

  it('a change in a held bucket comes as an extension, forwarded as stored', async () => {
    const s = await stack();
    await s.source.commit([doc(1, 'ann', 'red')]);
    const ann = new DirectClient(s, 'ann');
    await ann.step();
    await s.source.commit([doc(1, 'ann', 'red', 'changed')]);
    await s.clock.advance(0);
    await ann.step();
    expect(ann.replica.lastCheckpoint?.extend).toHaveLength(1);
    expect(ann.replica.lastCheckpoint?.replace).toHaveLength(0);
    expect(ann.replica.lastCheckpoint?.totalOps).toBe(1);
  });

  it('L13: a grant broken and regained in one step brings the bucket as it stands, without what came in between', async () => {
    const s = await stack();
    await s.source.commit([member(1, 'ann', 'red'), doc(1, 'bob', 'red', 'before')]);
    const ann = new DirectClient(s, 'ann');
    await ann.step();
    await s.source.commit([noMember(1)]);
    await s.source.commit([doc(1, 'bob', 'red', 'secret')]);
    await s.source.commit([member(1, 'ann', 'red'), doc(1, 'bob', 'red', 'after')]);
    await s.clock.advance(0);
    await ann.step();
    expect(ann.replica.lastCheckpoint?.replace).toHaveLength(1);
    expect(ann.replica.lastPuts.some((put) => Buffer.from(put.row, 'hex').includes('secret'))).toBe(false);
  });

  it('L13: a revoked bucket is dropped at the checkpoint that revokes', async () => {
    const s = await stack();
    await s.source.commit([member(1, 'ann', 'red'), doc(1, 'bob', 'red')]);
    const ann = new DirectClient(s, 'ann');
    await ann.step();
    await s.source.commit([noMember(1), doc(1, 'bob', 'red', 'secret')]);
    await s.clock.advance(0);
    await ann.step();
    expect(ann.replica.lastCheckpoint?.drop).toHaveLength(1);
    expect(ann.replica.lastPuts).toEqual([]);
    expect(ann.replica.rows()).toEqual([]);
  });

  it('a truncated membership table takes the buckets away although it names no lookup', async () => {
    const s = await stack();
    await s.source.commit([member(1, 'ann', 'red'), doc(1, 'bob', 'red')]);
    const ann = new DirectClient(s, 'ann');
    await ann.step();
    await s.source.commit([{ kind: 'truncate-members' }]);
    await s.clock.advance(0);
    await ann.step();
    expect(ann.replica.rows()).toEqual([]);
  });

  it('a wake-up that was lost is noticed at the next one, and everybody looks at everything', async () => {
    const s = await stack();
    const ann = new DirectClient(s, 'ann');
    const bob = new DirectClient(s, 'bob');
    await ann.step();
    await bob.step();
    await s.source.commit([doc(1, 'ann', 'red')], { publish: false });
    await s.source.commit([doc(2, 'bob', 'red')]);
    await s.clock.advance(0);
    expect([ann.isDirty, bob.isDirty]).toEqual([true, true]);
    await ann.step();
    expect(ann.replica.rows()).toHaveLength(1);
  });

  it('a wake-up that was lost for good is found by the poll', async () => {
    const s = await stack();
    const ann = new DirectClient(s, 'ann');
    await ann.step();
    await s.source.commit([doc(1, 'ann', 'red')], { publish: false });
    await s.clock.advance(POLL_MS + 1000);
    expect(ann.isDirty).toBe(true);
    await ann.step();
    expect(ann.replica.rows()).toHaveLength(1);
  });

  it('an idle session can be told the newest checkpoint alone', async () => {
    const s = await stack();
    const ann = new DirectClient(s, 'ann');
    await ann.step();
    const lsn = await s.source.commit([doc(2, 'bob', 'red')]);
    await s.clock.advance(0);
    await ann.step(true);
    expect(ann.replica.lsn).toBe(lsn);
    expect(ann.replica.lastChunks).toBe(0);
  });

  it('L11: a new generation replaces the old one in one checkpoint, after its schema', async () => {
    const s = await stack();
    await s.source.commit([doc(1, 'ann', 'red'), doc(2, 'ann', 'red')]);
    const ann = new DirectClient(s, 'ann');
    await ann.step();
    await s.source.redeploy();
    // The gateway hears of the switch before the checkpoint from which it counts.
    await s.clock.advance(0);
    await ann.step();
    expect(ann.replica.schemas).toBe(1);
    await s.source.commit([doc(3, 'ann', 'red')]);
    await s.clock.advance(0);
    expect(ann.isDirty).toBe(true);
    await ann.step();
    expect(ann.replica.schemas).toBe(2);
    expect(ann.replica.lastCheckpoint?.drop).toHaveLength(1);
    expect(ann.replica.lastCheckpoint?.replace).toHaveLength(1);
    expect(ann.replica.rows()).toHaveLength(3);
  });

  it('a new epoch resets the client', async () => {
    const s = await stack();
    await s.source.commit([doc(1, 'ann', 'red')]);
    const ann = new DirectClient(s, 'ann');
    await ann.step();
    await s.source.begin();
    await s.clock.advance(0);
    await ann.step();
    expect(ann.replica.lastCheckpoint?.reset).toBe(true);
    expect(ann.replica.rows()).toHaveLength(1);
  });
});

describe('resume', () => {
  it('at the newest checkpoint: nothing is sent again, and every held bucket is summed', async () => {
    const s = await stack();
    await s.source.commit([doc(1, 'ann', 'red'), doc(2, 'ann', 'blue')]);
    const ann = new DirectClient(s, 'ann');
    await ann.step();
    ann.reconnect();
    await ann.step();
    expect(ann.replica.lastChunks).toBe(0);
    expect(ann.replica.lastCheckpoint?.extend).toHaveLength(1);
  });

  it('behind: only what changed comes', async () => {
    const s = await stack();
    await s.source.commit([doc(1, 'ann', 'red'), doc(2, 'ann', 'blue')]);
    const ann = new DirectClient(s, 'ann');
    await ann.step();
    ann.close();
    await s.source.commit([doc(2, 'ann', 'blue', 'changed')]);
    await s.source.commit([doc(3, 'ann', 'blue')]);
    await s.clock.advance(0);
    ann.reconnect();
    await ann.step();
    expect(ann.replica.lastPuts).toHaveLength(2);
  });

  it('L13: behind, with a grant that was broken meanwhile: the bucket comes as it stands', async () => {
    const s = await stack();
    await s.source.commit([member(1, 'ann', 'red'), doc(1, 'bob', 'red')]);
    const ann = new DirectClient(s, 'ann');
    await ann.step();
    ann.close();
    await s.source.commit([noMember(1)]);
    await s.source.commit([doc(1, 'bob', 'red', 'secret')]);
    await s.source.commit([member(2, 'ann', 'red')]);
    await s.source.commit([doc(1, 'bob', 'red', 'after')]);
    await s.clock.advance(0);
    ann.reconnect();
    await ann.step();
    expect(ann.replica.lastCheckpoint?.replace).toHaveLength(1);
  });

  it('L13: a lie about held buckets gains nothing', async () => {
    const s = await stack();
    await s.source.commit([doc(1, 'bob', 'red')]);
    const bob = new DirectClient(s, 'bob');
    await bob.step();
    const ann = new DirectClient(s, 'ann');
    await ann.step();
    for (const [bucket, held] of bob.replica.buckets) ann.replica.buckets.set(bucket, held);
    ann.replica.buckets.set('f'.repeat(32) as BucketId, { table: 'docs', rows: new Map() });
    await s.source.commit([doc(1, 'bob', 'red', 'secret')]);
    await s.clock.advance(0);
    ann.reconnect();
    await ann.step();
    expect(ann.replica.lastPuts).toEqual([]);
    expect(ann.replica.lastCheckpoint?.drop).toHaveLength(2);
  });

  it('L13: a bucket of a generation that was not visible then was not held, whatever the client says', async () => {
    const s = await stack();
    await s.source.commit([doc(1, 'ann', 'red')]);
    const ann = new DirectClient(s, 'ann');
    await ann.step();
    await s.source.redeploy();
    const lsn = await s.source.commit([doc(1, 'ann', 'red', 'newer')]);
    await s.clock.advance(0);
    const [bucket] = bucketsOfUser(s.source.streamAt(lsn), s.source.at(lsn), 'ann');
    if (bucket) ann.replica.buckets.set(bucket, { table: 'docs', rows: new Map() });
    ann.reconnect();
    await ann.step();
    expect(ann.replica.lastCheckpoint?.replace.map((replaced) => replaced.bucket)).toEqual([bucket]);
  });

  it('L17: ahead of the store is an error that names itself', async () => {
    const s = await stack();
    const ann = new DirectClient(s, 'ann');
    await ann.step();
    ann.replica.lsn = ((ann.replica.lsn ?? 0n) + 1n) as Lsn;
    ann.reconnect();
    await expect(ann.step()).rejects.toMatchObject({ code: 'CLIENT_AHEAD' });
  });

  it('from an earlier epoch: reset', async () => {
    const s = await stack();
    await s.source.commit([doc(1, 'ann', 'red')]);
    const ann = new DirectClient(s, 'ann');
    await ann.step();
    ann.close();
    await s.source.begin();
    await s.clock.advance(0);
    ann.reconnect();
    await ann.step();
    expect(ann.replica.lastCheckpoint?.reset).toBe(true);
  });

  it('from before a truncate: the bucket comes as it stands', async () => {
    const s = await stack();
    await s.source.commit([doc(1, 'ann', 'red'), doc(2, 'ann', 'red')]);
    const ann = new DirectClient(s, 'ann');
    await ann.step();
    ann.close();
    await s.source.commit([{ kind: 'truncate-docs' }, doc(3, 'ann', 'red')]);
    await s.clock.advance(0);
    ann.reconnect();
    await ann.step();
    expect(ann.replica.lastCheckpoint?.replace).toHaveLength(1);
    expect(ann.replica.rows()).toHaveLength(1);
  });
});

function randomChange(random: SeededRandom, source: ModelSource): Change {
  const roll = random.next();
  const id = random.int(1, 12);
  if (roll < 0.02) return { kind: 'truncate-docs' };
  if (roll < 0.04) return { kind: 'truncate-members' };
  if (roll < 0.45) {
    const at = random.int(1, 6);
    if (source.now.members.has(at) && random.chance(0.5)) return noMember(at);
    return member(at, random.pick(users), random.pick(teams));
  }
  if (source.now.docs.has(id) && random.chance(0.3)) return { kind: 'doc', id, doc: undefined };
  const body = `v${random.int(0, 1e9)} ${'x'.repeat(random.chance(0.1) ? 400 : 5)}`;
  return doc(id, random.pick(users), random.pick(teams), body);
}

/** A client that steps while commits go on. What ends its connection is one of the errors that a client lives with. */
async function stepAsLivingClient(client: DirectClient, random: SeededRandom): Promise<void> {
  try {
    await client.step(random.chance(0.2));
  } catch (error) {
    if (!isAppError(error, 'SESSION_RESTART') && !isAppError(error, 'STORE_STREAM_GONE')) throw error;
    client.reconnect();
  }
}

async function randomHistory(random: SeededRandom): Promise<void> {
  const s = await stack({ cacheBytes: random.pick([0, 2000, 1024 * 1024]), lateness: random });
  const clients = Array.from({ length: 5 }, () => new DirectClient(s, random.pick(users)));
  const stepping = new Map<DirectClient, Promise<void>>();
  for (let round = 0; round < 30; round++) {
    const transactions = Array.from({ length: random.pick([1, 1, 1, 3]) }, () =>
      Array.from({ length: random.int(0, 4) }, () => randomChange(random, s.source)),
    );
    await s.source.frame(transactions, { publish: random.chance(0.95) });
    if (random.chance(0.05)) await s.source.redeploy();
    if (random.chance(0.02)) await s.source.begin();
    await s.clock.advance(random.chance(0.1) ? POLL_MS * 2 : 0);
    for (const client of clients) {
      if (stepping.has(client) || !client.isDirty || random.chance(0.4)) continue;
      if (random.chance(0.1)) client.reconnect();
      stepping.set(
        client,
        stepAsLivingClient(client, random).finally(() => stepping.delete(client)),
      );
    }
    if (random.chance(0.3)) await Promise.all(stepping.values());
  }
  await Promise.all(stepping.values());
  await s.source.commit([]);
  await s.clock.advance(POLL_MS * 2);
  await waitFor(() => s.rooms.watch.served?.checkpoint.lsn === s.source.lsn, { what: 'the newest checkpoint' });
  for (const client of clients) {
    await client.step(true);
    expect(client.replica.lsn).toBe(s.source.lsn);
    client.close();
  }
  expect(s.rooms.feed.bucketCount).toBe(0);
}

describe('random histories', () => {
  it('L9, L12, L13: every client equals the tables at every checkpoint, and never got a row version outside its grant', async () => {
    const random = seededRandom();
    for (let i = 0; i < HISTORIES; i++) {
      const seed = random.int(0, 2 ** 31);
      await randomHistory(randomFrom(seed)).catch((error: unknown) => {
        throw new Error(`history ${i}, seed ${seed}: ${error instanceof Error ? error.message : 'thrown'}`, {
          cause: error,
        });
      });
    }
  }, 60_000);
});

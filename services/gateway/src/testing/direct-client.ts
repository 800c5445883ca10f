import { type BucketStore, createMemoryBucketStore } from '@sluice/bucket-store';
import type { BucketId, Lsn } from '@sluice/domain';
import { createMemoryWakeUps, type WakeUp } from '@sluice/op-queue';
import { manualClock, type SeededRandom, waitFor } from '@sluice/testkit';
import { expect } from 'vitest';
import { fairStore } from '../fair-store.ts';
import { FairTurns } from '../fair-turns.ts';
import { ByteLru } from '../feed/byte-lru.ts';
import { contentBytes, type FeedCaches, framePageBytes, sharedBytes } from '../feed/project-feed.ts';
import { projectRoomsOf } from '../project-rooms.ts';
import { SyncCursor } from '../sync-cursor.ts';
import { bucketsOfDoc, bucketsOfUser, encodeDoc } from './docs-rules.ts';
import { type Change, ModelSource } from './model-source.ts';
import { Replica } from './replica.ts';

export const POLL_MS = 2000;

function cachesOf(bytes: number): FeedCaches {
  return {
    pages: new ByteLru(bytes, framePageBytes),
    contents: new ByteLru(bytes, contentBytes),
    shared: new ByteLru(bytes, sharedBytes),
    reductions: new FairTurns({ atOnceMax: 2, atOncePerGroupMax: 2 }),
    slices: new FairTurns({ atOnceMax: 2, atOncePerGroupMax: 2 }),
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

export interface StackOptions {
  readonly store?: BucketStore;
  readonly cacheBytes?: number;
  readonly lateness?: SeededRandom;
  /** Wake-ups of the source that get lost on their way. */
  readonly loses?: (wakeUp: WakeUp) => boolean;
}
export async function stack(options: StackOptions = {}) {
  const clock = manualClock();
  const given = options.store ?? createMemoryBucketStore(clock);
  const store = options.lateness ? lateReads(given, options.lateness) : given;
  const wakeUps = createMemoryWakeUps();
  const publish = (wakeUp: WakeUp): void => {
    if (!options.loses?.(wakeUp)) wakeUps.publish(wakeUp);
  };
  const source = new ModelSource({ store, wakeUps: { ...wakeUps, publish }, clock });
  await source.begin();
  const rooms = projectRoomsOf({
    project: source.project,
    store: fairStore(store, new FairTurns({ atOnceMax: 3, atOncePerGroupMax: 2 })),
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
  await waitFor(() => rooms.watch.served, { what: 'the project to be served' });
  return { clock, store, wakeUps, source, rooms };
}
export type Stack = Awaited<ReturnType<typeof stack>>;

/** A client with its session, without a socket between them. */
export class DirectClient {
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
        isReady: true,
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

export const doc = (id: number, owner: string, team: string, body = `body ${id}`): Change => ({
  kind: 'doc',
  id,
  doc: { owner, team, body },
});
export const member = (id: number, user: string, team: string): Change => ({
  kind: 'member',
  id,
  member: { user, team },
});
export const noMember = (id: number): Change => ({ kind: 'member', id, member: undefined });

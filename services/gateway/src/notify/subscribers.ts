import type { BucketRef, LookupRef } from '@sluice/bucket-store';
import type { BucketId, LookupId, Lsn, StreamNo } from '@sluice/domain';
import type { Step } from '../model.ts';

/** What a session must look at again. */
export type Wake =
  | { readonly kind: 'all' }
  | {
      readonly kind: 'some';
      /** Nothing of the session's changed between its own checkpoint and this one. */
      readonly after: Lsn;
      readonly buckets: readonly BucketId[];
      readonly lookups: readonly LookupId[];
      readonly truncated: readonly StreamNo[];
    };
export interface Subscriber {
  /** Called in the turn in which the news came; must not throw. */
  wake(wake: Wake): void;
}

/** Steps kept for sessions that begin to care about a bucket a little late, and ids named in them. */
const RECENT_STEPS_MAX = 512;
const RECENT_IDS_MAX = 100_000;

/** Who holds what in one project, so that a change wakes only whom it concerns. */
export class Subscribers {
  private readonly all = new Set<Subscriber>();
  private readonly byBucket = new Index<BucketId>();
  private readonly byLookup = new Index<LookupId>();
  private readonly byStream = new Index<StreamNo>();
  private readonly recent: Step[] = [];
  private recentIds = 0;
  /** Every change after this checkpoint is in `recent`. */
  private recentFrom: Lsn | undefined;

  get size(): number {
    return this.all.size;
  }

  add(subscriber: Subscriber): void {
    this.all.add(subscriber);
  }
  remove(subscriber: Subscriber): void {
    this.all.delete(subscriber);
    this.byBucket.removeAll(subscriber);
    this.byLookup.removeAll(subscriber);
    this.byStream.removeAll(subscriber);
  }
  [Symbol.iterator](): Iterator<Subscriber> {
    return this.all[Symbol.iterator]();
  }

  /** Replaces the subscriber's buckets. `asOf` is the checkpoint that they were found at: later changes wake at once. */
  setBuckets(subscriber: Subscriber, refs: readonly BucketRef[], asOf: Lsn): void {
    this.byStream.set(subscriber, new Set(refs.map((ref) => ref.stream)));
    this.replay(subscriber, this.byBucket.set(subscriber, new Set(refs.map((ref) => ref.bucket))), asOf, 'buckets');
  }
  setLookups(subscriber: Subscriber, refs: readonly LookupRef[], asOf: Lsn): void {
    this.replay(subscriber, this.byLookup.set(subscriber, new Set(refs.map((ref) => ref.lookup))), asOf, 'lookups');
  }

  wakeAll(): void {
    for (const subscriber of this.all) subscriber.wake({ kind: 'all' });
  }

  /** Forgets the steps so far: some were missed. */
  recordGap(lsn: Lsn): void {
    this.recent.length = 0;
    this.recentIds = 0;
    this.recentFrom = lsn;
  }

  record(step: Step): void {
    this.recentFrom ??= step.after;
    this.recent.push(step);
    this.recentIds += idsOf(step);
    while (this.recent.length > RECENT_STEPS_MAX || this.recentIds > RECENT_IDS_MAX) {
      const oldest = this.recent.shift();
      if (!oldest) break;
      this.recentIds -= idsOf(oldest);
      this.recentFrom = oldest.lsn;
    }
  }

  /** Wakes those whose buckets or lookups the step names, each once. */
  wakeAffected(step: Step): number {
    const wakes = new Map<Subscriber, { buckets: BucketId[]; lookups: LookupId[]; truncated: StreamNo[] }>();
    const wakeOf = (subscriber: Subscriber) => {
      let wake = wakes.get(subscriber);
      if (!wake) {
        wake = { buckets: [], lookups: [], truncated: [] };
        wakes.set(subscriber, wake);
      }
      return wake;
    };
    for (const bucket of step.buckets) for (const s of this.byBucket.of(bucket)) wakeOf(s).buckets.push(bucket);
    for (const lookup of step.lookups) for (const s of this.byLookup.of(lookup)) wakeOf(s).lookups.push(lookup);
    // A truncated membership table names no lookups, so a session that holds none of the stream's buckets wakes too.
    if (step.truncated.size > 0)
      for (const subscriber of this.all) wakeOf(subscriber).truncated.push(...step.truncated);
    for (const [subscriber, wake] of wakes) subscriber.wake({ kind: 'some', after: step.after, ...wake });
    return wakes.size;
  }

  private replay<Id>(subscriber: Subscriber, fresh: ReadonlySet<Id>, asOf: Lsn, list: 'buckets' | 'lookups'): void {
    if (fresh.size === 0) return;
    if (this.recentFrom === undefined || asOf < this.recentFrom) {
      // Before the first step nothing was published since `asOf`; with a gap there may have been something.
      if (this.recentFrom !== undefined) subscriber.wake({ kind: 'all' });
      return;
    }
    for (const step of this.recent) {
      if (step.lsn <= asOf) continue;
      const named = [...fresh].filter((id) => (step[list] as ReadonlySet<unknown>).has(id));
      const truncated = [...step.truncated];
      if (named.length === 0 && truncated.length === 0) continue;
      const nothing = { buckets: [], lookups: [], truncated, after: step.after };
      subscriber.wake({ kind: 'some', ...nothing, [list]: named });
    }
  }
}

function idsOf(step: Step): number {
  return step.buckets.size + step.lookups.size;
}

/** Key to subscribers and back. */
class Index<Key> {
  private readonly subscribersByKey = new Map<Key, Set<Subscriber>>();
  private readonly keysBySubscriber = new Map<Subscriber, ReadonlySet<Key>>();
  private static readonly nobody: ReadonlySet<Subscriber> = new Set();

  of(key: Key): ReadonlySet<Subscriber> {
    return this.subscribersByKey.get(key) ?? Index.nobody;
  }
  /** Returns the keys that the subscriber did not have. */
  set(subscriber: Subscriber, keys: ReadonlySet<Key>): ReadonlySet<Key> {
    const before = this.keysBySubscriber.get(subscriber);
    const fresh = new Set<Key>();
    for (const key of keys) {
      if (before?.has(key)) continue;
      fresh.add(key);
      const subscribers = this.subscribersByKey.get(key);
      if (subscribers) subscribers.add(subscriber);
      else this.subscribersByKey.set(key, new Set([subscriber]));
    }
    for (const key of before ?? []) if (!keys.has(key)) this.remove(subscriber, key);
    this.keysBySubscriber.set(subscriber, keys);
    return fresh;
  }
  removeAll(subscriber: Subscriber): void {
    for (const key of this.keysBySubscriber.get(subscriber) ?? []) this.remove(subscriber, key);
    this.keysBySubscriber.delete(subscriber);
  }
  private remove(subscriber: Subscriber, key: Key): void {
    const subscribers = this.subscribersByKey.get(key);
    subscribers?.delete(subscriber);
    if (subscribers?.size === 0) this.subscribersByKey.delete(key);
  }
}

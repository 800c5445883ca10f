import { type BucketId, compareCheckpoints, type Epoch, type LookupId, type Lsn, type StreamNo } from '@sluice/domain';
import { AppError, assert, isAppError } from '@sluice/errors';
import { encodeServerMessage } from '@sluice/protocol';
import { planStep } from './feed/plan-step.ts';
import { type FrameSink, sendCheckpoint } from './feed/send-checkpoint.ts';
import { isVisibleAt, type SchemaMessage, type Served } from './model.ts';
import type { Wake } from './notify/subscribers.ts';
import type { ProjectRooms } from './project-rooms.ts';
import { Grants, type LookupValues, type TokenClaims } from './resolve/grants.ts';

export interface Resume {
  readonly epoch: Epoch;
  readonly lsn: Lsn;
  readonly buckets: readonly BucketId[];
}
export interface SentCheckpoint {
  readonly epoch: Epoch;
  readonly lsn: Lsn;
  readonly bytes: number;
}

/** What the client holds: at a checkpoint, some buckets. `isProven`: they were found from the present claims. */
interface Held {
  readonly epoch: Epoch;
  readonly lsn: Lsn;
  readonly buckets: ReadonlyMap<BucketId, StreamNo>;
  readonly claimed: readonly BucketId[];
  readonly isProven: boolean;
}
interface Scope {
  readonly held: ReadonlyMap<BucketId, StreamNo>;
  readonly unproven: ReadonlySet<BucketId>;
  readonly wanted: ReadonlyMap<BucketId, StreamNo>;
  readonly broken: ReadonlySet<BucketId>;
  readonly truncated: ReadonlySet<StreamNo>;
  readonly changed: ReadonlySet<BucketId> | undefined;
  readonly after: Lsn;
}

const FOLDED_ATTEMPTS_MAX = 3;
const NOTHING: ReadonlySet<never> = new Set<never>();

/**
 * One session's place in its project: where resolve, feed and notify meet. `next` takes the client from the checkpoint
 * that it was last sent to the newest one; news that comes meanwhile waits for the call after it.
 */
export class SyncCursor {
  private readonly rooms: ProjectRooms;
  private readonly onNews: () => void;
  private readonly dirt = new Dirt();
  private grants: Grants;
  private held: Held | undefined;
  private values: Map<LookupId, readonly string[]> = new Map();
  private streams: Served['streams'] | undefined;
  private schema: SchemaMessage | undefined;
  private retained: ReadonlyMap<BucketId, StreamNo> = new Map();
  /** The checkpoint that the client was last sent; `held` moves on also when nothing had to be sent. */
  private told: { readonly epoch: Epoch; readonly lsn: Lsn } | undefined;
  private isClosed = false;
  /** The store keeps changes no more from where the client is: it loads everything anew. */
  private isTooFarBehind = false;

  constructor(rooms: ProjectRooms, claims: TokenClaims, resume: Resume | undefined, onNews: () => void) {
    this.rooms = rooms;
    this.grants = new Grants(claims);
    this.onNews = onNews;
    if (resume) {
      const { epoch, lsn, buckets } = resume;
      this.held = { epoch, lsn, buckets: new Map(), claimed: buckets, isProven: false };
    }
    rooms.watch.subscribers.add(this);
  }

  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.rooms.watch.subscribers.remove(this);
    for (const bucket of this.retained.keys()) this.rooms.feed.release(bucket);
    this.retained = new Map();
  }

  wake(wake: Wake): void {
    this.dirt.add(wake);
    this.onNews();
  }

  /** Whether there is a checkpoint above the one that the client was told. */
  get isBehind(): boolean {
    const newest = this.rooms.watch.served?.checkpoint;
    return newest !== undefined && this.told !== undefined && compareCheckpoints(this.told, newest) < 0;
  }

  /** Takes new claims of the same subject. True when they entitle to something else, which `next` then works out. */
  replaceClaims(claims: TokenClaims): boolean {
    const grants = new Grants(claims);
    const generations = this.rooms.watch.served?.generations;
    const isSame = generations !== undefined && grants.isSameAs(this.grants, generations);
    this.grants = grants;
    if (isSame) return false;
    if (this.held) {
      const { epoch, lsn, buckets, claimed } = this.held;
      const claims = this.held.isProven ? [...buckets.keys()] : claimed;
      this.held = { epoch, lsn, buckets: new Map(), claimed: claims, isProven: false };
    }
    this.dirt.add({ kind: 'all' });
    return true;
  }

  /**
   * Sends what is needed to reach the newest checkpoint; nothing when nothing of the session's changed, unless
   * `evenIfBare`. Undefined when no checkpoint was sent.
   * @throws AppError; when `onBegin` was called before, the connection cannot be used any more
   */
  async next(
    sink: FrameSink,
    options: { evenIfBare: boolean; onBegin: () => void },
  ): Promise<SentCheckpoint | undefined> {
    for (let attempt = 1; ; attempt++) {
      let hasBegun = false;
      const onBegin = (): void => {
        hasBegun = true;
        options.onBegin();
      };
      try {
        return await this.tryNext(sink, { evenIfBare: options.evenIfBare, onBegin });
      } catch (error) {
        if (!isAppError(error, 'STORE_CHECKPOINT_GONE')) throw error;
        if (hasBegun) throw new AppError('SESSION_RESTART', { cause: error });
        if (attempt === FOLDED_ATTEMPTS_MAX) throw error;
        // Either this gateway has not heard of newer checkpoints, or the client was away for longer than the retention.
        await this.rooms.watch.refresh();
        this.isTooFarBehind = attempt > 1 && this.held !== undefined;
      }
    }
  }

  private async tryNext(
    sink: FrameSink,
    { evenIfBare, onBegin }: { evenIfBare: boolean; onBegin: () => void },
  ): Promise<SentCheckpoint | undefined> {
    await this.refuseAhead();
    // In one turn: news that comes after it is of a later checkpoint and stays for the next call.
    const served = this.rooms.watch.served;
    if (!served) return undefined;
    const dirt = this.dirt.take();
    let hasBegun = false;
    const begin = (): void => {
      hasBegun = true;
      onBegin();
    };
    try {
      return await this.step(served, dirt, sink, evenIfBare, begin);
    } catch (error) {
      this.dirt.add({ kind: 'all' });
      if (!isAppError(error, 'STORE_STREAM_GONE')) throw error;
      // The streams were switched, and this gateway has not heard of it.
      await this.rooms.watch.refresh();
      throw hasBegun ? new AppError('SESSION_RESTART', { cause: error }) : error;
    }
  }

  private async step(
    served: Served,
    dirt: TakenDirt,
    sink: FrameSink,
    evenIfBare: boolean,
    onBegin: () => void,
  ): Promise<SentCheckpoint | undefined> {
    const { checkpoint } = served;
    const { epoch, lsn } = checkpoint;
    const reset = this.held !== undefined && (this.held.epoch !== epoch || this.isTooFarBehind);
    const isFirst = this.streams === undefined || this.held === undefined || reset;
    const scope = await this.scopeOf(served, dirt, reset);
    this.hold(scope.wanted, lsn);
    const plan = planStep(scope);
    const isBare = plan.drop.length + plan.replace.length + plan.extend.length === 0;
    const mustSend = isFirst || !isBare || evenIfBare || this.schema !== served.schema;
    const prelude = this.schema === served.schema ? [] : [encodeServerMessage(served.schema)];
    const confirm = () => this.confirm(served);
    const bytes = mustSend
      ? await this.rooms.pins.during(checkpoint, () =>
          sendCheckpoint(
            this.rooms.feed,
            { checkpoint, after: scope.after, reset, plan, member: this, prelude, onBegin, confirm },
            sink,
          ),
        )
      : 0;
    this.isTooFarBehind = false;
    this.streams = served.streams;
    this.held = { epoch, lsn, buckets: scope.wanted, claimed: [], isProven: true };
    if (!mustSend) return undefined;
    this.schema = served.schema;
    this.told = { epoch, lsn };
    return { epoch, lsn, bytes };
  }

  /** A client that has seen a newer checkpoint than the store has cannot be right together with it (L17). */
  private async refuseAhead(): Promise<void> {
    const { watch } = this.rooms;
    const isAhead = (): boolean =>
      this.held !== undefined &&
      watch.served !== undefined &&
      compareCheckpoints(this.held, watch.served.checkpoint) > 0;
    if (!isAhead()) return;
    // Perhaps this gateway has not heard of it yet.
    await watch.refresh();
    if (isAhead()) throw new AppError('CLIENT_AHEAD');
  }

  private async scopeOf(served: Served, dirt: TakenDirt, reset: boolean): Promise<Scope> {
    if (reset || !this.held) return this.wholeScope(served);
    if (dirt.all || this.streams !== served.streams || !this.held.isProven) return this.diffScope(served, this.held);
    return this.changeScope(served, this.held, dirt);
  }

  /** For a client that holds nothing that counts. */
  private async wholeScope(served: Served): Promise<Scope> {
    const { lsn } = served.checkpoint;
    const wanted = await this.wantedAt(served, lsn);
    const nothing = { held: new Map(), unproven: NOTHING, broken: NOTHING, truncated: NOTHING, changed: NOTHING };
    return { ...nothing, wanted, after: lsn };
  }

  /** For a client of which only the checkpoint is sure: everything that may differ is looked at. */
  private async diffScope(served: Served, before: Held): Promise<Scope> {
    const { membership } = this.rooms;
    const span = { after: before.lsn, through: served.checkpoint.lsn };
    const [held, wanted, touched, truncated] = await Promise.all([
      before.isProven ? before.buckets : this.provenOf(served, before),
      this.wantedAt(served, span.through),
      membership.touched(this.grants.lookups(served.streams), span),
      membership.truncated(streamNosOf(served), span),
    ]);
    return {
      held,
      unproven: new Set(before.claimed.filter((bucket) => !held.has(bucket))),
      wanted,
      broken: this.grants.touchedBuckets(served.streams, this.values, touched),
      truncated,
      changed: undefined,
      after: span.after,
    };
  }

  /** For a session that was told of everything that concerns it. */
  private async changeScope(served: Served, before: Held, dirt: TakenDirt): Promise<Scope> {
    const span = { after: dirt.after > before.lsn ? dirt.after : before.lsn, through: served.checkpoint.lsn };
    const { buckets: changed, truncated } = dirt;
    const unchanged = { held: before.buckets, unproven: NOTHING, truncated, changed, after: span.after };
    const isMembershipSame = dirt.lookups.size === 0 && truncated.size === 0;
    const lookups = isMembershipSame
      ? []
      : this.grants
          .lookups(served.streams)
          .filter(({ lookup, stream }) => dirt.lookups.has(lookup) || truncated.has(stream));
    if (lookups.length === 0) return { ...unchanged, wanted: before.buckets, broken: NOTHING };
    const [values, touched] = await Promise.all([
      this.rooms.membership.values(lookups, span.through),
      this.rooms.membership.touched(lookups, span),
    ]);
    for (const { lookup } of lookups) this.values.set(lookup, values.get(lookup) ?? []);
    return {
      ...unchanged,
      wanted: this.grants.buckets(served.streams, this.values),
      broken: this.grants.touchedBuckets(served.streams, this.values, touched),
    };
  }

  private async wantedAt(served: Served, lsn: Lsn): Promise<ReadonlyMap<BucketId, StreamNo>> {
    const lookups = this.grants.lookups(served.streams);
    // Listening begins before reading, so that no change falls in between.
    this.rooms.watch.subscribers.setLookups(this, lookups, lsn);
    this.values = new Map(await this.rooms.membership.values(lookups, lsn));
    return this.grants.buckets(served.streams, this.values);
  }

  /** Of the buckets that the client says it holds, those that its present claims gave at its checkpoint too. */
  private async provenOf(served: Served, before: Held): Promise<ReadonlyMap<BucketId, StreamNo>> {
    const streams = served.generations.filter((stream) => isVisibleAt(stream, before.lsn));
    const values: LookupValues = await this.rooms.membership.values(this.grants.lookups(streams), before.lsn);
    const granted = this.grantedOrNone(streams, values);
    const proven = new Map<BucketId, StreamNo>();
    for (const bucket of before.claimed) {
      const stream = granted.get(bucket);
      if (stream !== undefined) proven.set(bucket, stream);
    }
    return proven;
  }

  /** Over the limit, nothing was ever sent; the present grants may be fewer and go on. */
  private grantedOrNone(streams: Served['streams'], values: LookupValues): ReadonlyMap<BucketId, StreamNo> {
    try {
      return this.grants.buckets(streams, values);
    } catch (error) {
      if (isAppError(error, 'TOO_MANY_BUCKETS')) return new Map();
      throw error;
    }
  }

  private hold(wanted: ReadonlyMap<BucketId, StreamNo>, asOf: Lsn): void {
    assert(!this.isClosed, 'a closed session goes on');
    if (wanted === this.retained) return;
    const { feed, watch } = this.rooms;
    const newest = watch.served?.checkpoint.lsn ?? asOf;
    for (const [bucket, stream] of wanted) if (!this.retained.has(bucket)) feed.retain({ bucket, stream }, newest);
    for (const bucket of this.retained.keys()) if (!wanted.has(bucket)) feed.release(bucket);
    this.retained = wanted;
    const refs = [...wanted].map(([bucket, stream]) => ({ bucket, stream }));
    watch.subscribers.setBuckets(this, refs, asOf);
  }

  /** Data of dropped streams and retired epochs is erased in time: a checkpoint that spanned that is not sent to its end. */
  private confirm(served: Served): void {
    const { watch } = this.rooms;
    if (watch.served?.generations === served.generations) return;
    const droppedByStream = new Map(watch.served?.generations.map((stream) => [stream.stream, stream.droppedAfter]));
    const isIntact = served.streams.every(
      ({ stream, droppedAfter }) => droppedByStream.has(stream) && droppedByStream.get(stream) === droppedAfter,
    );
    if (!isIntact) throw new AppError('SESSION_RESTART', { internal: 'streams were switched during a checkpoint' });
  }
}

interface TakenDirt {
  readonly all: boolean;
  readonly after: Lsn;
  readonly buckets: ReadonlySet<BucketId>;
  readonly lookups: ReadonlySet<LookupId>;
  readonly truncated: ReadonlySet<StreamNo>;
}

/** News since the last step, added up. */
class Dirt {
  private all = false;
  private after: Lsn | undefined;
  private buckets = new Set<BucketId>();
  private lookups = new Set<LookupId>();
  private truncated = new Set<StreamNo>();

  add(wake: Wake): void {
    if (wake.kind === 'all') {
      this.all = true;
      return;
    }
    if (this.after === undefined || wake.after < this.after) this.after = wake.after;
    for (const bucket of wake.buckets) this.buckets.add(bucket);
    for (const lookup of wake.lookups) this.lookups.add(lookup);
    for (const stream of wake.truncated) this.truncated.add(stream);
  }

  take(): TakenDirt {
    const { all, buckets, lookups, truncated } = this;
    const taken = { all, after: this.after ?? (0n as Lsn), buckets, lookups, truncated };
    this.all = false;
    this.after = undefined;
    this.buckets = new Set();
    this.lookups = new Set();
    this.truncated = new Set();
    return taken;
  }
}

function streamNosOf(served: Served): StreamNo[] {
  return served.streams.map((stream) => stream.stream);
}

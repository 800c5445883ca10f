import type { EpochRecord } from '@sluice/bucket-store';
import { barrierAt, delay, isBarrier, type LeaseToken, type Lsn, type Position, type ProjectId } from '@sluice/domain';
import { AppError } from '@sluice/errors';
import type { AssembledFrame } from './assemble/assembler.ts';
import type { Dependencies } from './dependencies.ts';
import type { ShardsTracker } from './progress/shards-tracker.ts';
import { type ShardMap, shardMapOf } from './shard/shard-map.ts';
import { ChangeSplitter } from './shard/split-changes.ts';

export interface ShardedPublisherOptions {
  readonly dependencies: Dependencies;
  readonly project: ProjectId;
  readonly token: LeaseToken;
  readonly epoch: EpochRecord;
  readonly tracker: ShardsTracker;
  /** @throws AppError STORE_FENCED when the epoch is gone */
  readonly readEpoch: () => Promise<EpochRecord>;
}

/** Frames of one shard that are published and not applied; also bounds the barriers that the store remembers. */
const framesInFlightMax = 1_000;
const roomPollMs = 20;

/** A change of the shard map that was asked for. */
export interface Resharding {
  readonly shards: number;
  readonly done: Promise<void>;
  /** Fails it, unless it has been done. */
  giveUp(error: unknown): void;
  finish(): void;
}

/**
 * Publishes frames to the queues of an epoch's shards, in order. With one shard a frame is published as it was assembled.
 * Every shard gets a frame that ends at a barrier, an empty one too (L4); one that ends inside a transaction goes only to
 * the shards that it has rows of.
 */
export class ShardedPublisher {
  private readonly options: ShardedPublisherOptions;
  private map: ShardMap;
  private splitter: ChangeSplitter;
  /** By shard: where its last frame ended. */
  private prevs: Position[] = [];
  private resharding: Resharding | undefined;

  constructor(options: ShardedPublisherOptions) {
    this.options = options;
    this.map = shardMapOf(options.epoch);
    this.splitter = new ChangeSplitter(this.map);
  }

  /** The stream begins again behind `applied`. */
  restart(epoch: EpochRecord, applied: Lsn): void {
    this.adopt(epoch, barrierAt(applied));
  }

  /** Streams were added, and with them tables. */
  async refresh(): Promise<void> {
    const { rowKeys } = await this.options.readEpoch();
    this.map = { ...this.map, rowKeys };
    this.splitter = new ChangeSplitter(this.map);
  }

  /** Asks for another number of shards; it is done before the first frame behind the next barrier. */
  reshard(shards: number): Resharding {
    this.resharding?.giveUp(new AppError('STORE_GAP', { internal: 'another number of shards was asked for' }));
    const { promise: done, resolve, reject } = deferred();
    const end = (settle: () => void): void => {
      if (this.resharding === resharding) this.resharding = undefined;
      settle();
    };
    const resharding: Resharding = {
      shards,
      done,
      finish: () => end(resolve),
      giveUp: (error) => end(() => reject(error)),
    };
    this.resharding = resharding;
    return resharding;
  }

  async publish(frame: AssembledFrame, signal: AbortSignal): Promise<void> {
    const { faultPoint } = this.options.dependencies;
    await faultPoint('frame assembled');
    await this.roomInFlight(signal);
    if (this.map.shards === 1) await this.publishShare(0, frame, signal);
    else await this.publishShares(frame, signal);
    await faultPoint('frame published');
    if (this.resharding && isBarrier(frame.end)) await this.reshardAt(frame.end.lsn, this.resharding, signal);
  }

  /** Empty frames take no room in a queue: a shard that stands still must hold up the others before they pile up (L16). */
  private async roomInFlight(signal: AbortSignal): Promise<void> {
    const { tracker, dependencies } = this.options;
    while (tracker.framesInFlight >= framesInFlightMax && !signal.aborted)
      await delay(dependencies.clock, roomPollMs, signal);
  }

  private async publishShares(frame: AssembledFrame, signal: AbortSignal): Promise<void> {
    const shares = this.splitter.split(frame.changes);
    const isForAll = isBarrier(frame.end);
    await Promise.all(
      shares.map(async (changes, shard) => {
        if (isForAll || changes.length > 0) await this.publishShare(shard, { ...frame, changes }, signal);
      }),
    );
  }

  private async publishShare(shard: number, frame: AssembledFrame, signal: AbortSignal): Promise<void> {
    const { dependencies, project, token, epoch, tracker } = this.options;
    const { end, endLsn, committedAtMs, changes } = frame;
    const prev = this.prevs[shard] ?? frame.prev;
    this.prevs[shard] = end;
    tracker.published(shard, end, endLsn);
    const place = { project, epoch: epoch.epoch, shard, mapVersion: this.map.version, leaseToken: token };
    await dependencies.queue.publish({ kind: 'stream', ...place, prev, end, endLsn, committedAtMs, changes }, signal);
  }

  /** L4: the last frame of the old map ended at this barrier; the first of the new one begins there. */
  private async reshardAt(at: Lsn, resharding: Resharding, signal: AbortSignal): Promise<void> {
    const { dependencies, project, token, epoch, tracker, readEpoch } = this.options;
    const { store, wakeUps, events, faultPoint } = dependencies;
    await tracker.reached(at, signal);
    if (signal.aborted) return;
    await faultPoint('shards level');
    const version = await store.reshard(project, token, epoch.epoch, { shards: resharding.shards, at });
    await faultPoint('shards changed');
    const fresh = await readEpoch();
    tracker.restart(fresh.shards);
    this.adopt(fresh, barrierAt(at));
    wakeUps.publish({ kind: 'streams', project });
    events.resharded(project, { shards: resharding.shards, version });
    resharding.finish();
  }

  private adopt(epoch: EpochRecord, from: Position): void {
    this.map = shardMapOf(epoch);
    this.splitter = new ChangeSplitter(this.map);
    this.prevs = epoch.shards.map(() => from);
  }
}

function deferred(): { promise: Promise<void>; resolve: () => void; reject: (error: unknown) => void } {
  let resolve = (): void => {};
  let reject = (_: unknown): void => {};
  const promise = new Promise<void>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

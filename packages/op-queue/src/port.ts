import type { BucketId, Checkpoint, Epoch, LookupId, Lsn, Position, ProjectId, StreamNo } from '@sluice/domain';
import type { Frame } from './frame.ts';

/**
 * The queue between replicators and bucket workers: frames of one (project, shard) in order, at least once while nothing
 * fails. It may lose, repeat or reorder them at any time; the store decides (L3). It is never the only copy of anything.
 */
export interface OpQueue {
  /**
   * Adds a frame. Resolves when there was room: waiting here is the back-pressure on the source's socket.
   * The bound is in bytes of `changes` per (project, shard).
   */
  publish(frame: Frame, signal: AbortSignal): Promise<void>;
  /** Takes frames of one shard until the signal is aborted. One consumer per (project, shard). */
  take(project: ProjectId, shard: number, signal: AbortSignal): AsyncIterable<TakenFrame>;
  /** Forgets all frames of the project, as after a gap or a new lease. */
  clear(project: ProjectId): Promise<void>;
  /** True when no frame of the shard is queued, or taken and not done; undefined when that cannot be known now. */
  isEmpty(project: ProjectId, shard: number): Promise<boolean | undefined>;
}
export interface TakenFrame {
  readonly frame: Frame;
  /** The frame was applied, skipped or refused by the store; its room is free again. */
  done(): void;
}

/** Hints between services. Losing one costs time, never data: everybody also polls what they wait for. */
export type WakeUp =
  /**
   * Everything up to `checkpoint` is readable. The lists name what changed after `previousLsn`, no less than the checkpoint
   * before it. Where rows are divided among several shards they are empty: each shard tells its part with `changed`.
   * `inUse` are the streams that the store had in use when it took the last frame: whoever knows others as visible must read them
   * again before it serves this checkpoint. Undefined when that is not known.
   */
  | {
      readonly kind: 'checkpoint';
      readonly project: ProjectId;
      readonly checkpoint: Checkpoint;
      readonly previousLsn: Lsn;
      readonly shards: number;
      readonly inUse: readonly StreamNo[] | undefined;
      readonly buckets: readonly BucketId[];
      readonly lookups: readonly LookupId[];
      readonly truncated: readonly StreamNo[];
    }
  /** A shard is about to apply what changes these in (after, through]; told before the checkpoint that shows it. */
  | {
      readonly kind: 'changed';
      readonly project: ProjectId;
      readonly epoch: Epoch;
      readonly shard: number;
      readonly after: Lsn;
      readonly through: Lsn;
      readonly buckets: readonly BucketId[];
      readonly lookups: readonly LookupId[];
      readonly truncated: readonly StreamNo[];
    }
  /** A shard's applied position moved, for the replicator's standby status. */
  | {
      readonly kind: 'applied';
      readonly project: ProjectId;
      readonly epoch: Epoch;
      readonly shard: number;
      readonly position: Position;
    }
  /** The store refused a frame: stream again from the applied position. */
  | { readonly kind: 'gap'; readonly project: ProjectId; readonly epoch: Epoch; readonly shard: number }
  /** A part of a copy was committed or refused. */
  | {
      readonly kind: 'snapshot-part';
      readonly project: ProjectId;
      readonly streams: readonly StreamNo[];
      readonly table: string;
      readonly part: number;
      readonly outcome: 'applied' | 'refused';
    }
  /** The set of streams or their states changed; the worker and the gateway read them again. */
  | { readonly kind: 'streams'; readonly project: ProjectId }
  /** A project was added, changed, stopped or removed. */
  | { readonly kind: 'project'; readonly project: ProjectId };

export interface WakeUps {
  publish(wakeUp: WakeUp): void;
  /** Calls `listener` for each wake-up of the project, or of all projects; the returned function ends it. */
  subscribe(project: ProjectId | 'all', listener: (wakeUp: WakeUp) => void): () => void;
}

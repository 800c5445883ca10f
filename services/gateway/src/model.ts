import type { BucketStore } from '@sluice/bucket-store';
import type { BucketId, Checkpoint, LookupId, Lsn, ProjectId, StreamNo } from '@sluice/domain';
import type { ServerMessage } from '@sluice/protocol';
import type { StreamPlan } from '@sluice/sync-rules';

/** The nouns that the rooms of this service share. */

/** What the gateway does with the store: it writes nothing but pins, which keep a long read's checkpoint. */
export type StoreReads = Pick<
  BucketStore,
  | 'readSource'
  | 'readStreams'
  | 'readChunks'
  | 'readSums'
  | 'readMembership'
  | 'readMembershipTouched'
  | 'readTruncated'
  | 'pinCheckpoint'
  | 'unpinCheckpoint'
>;

/** A stream generation that is, was or will be visible in the serving epoch. */
export interface ServedStream {
  readonly stream: StreamNo;
  readonly plan: StreamPlan;
  /** Visible at checkpoints strictly above; undefined while it loads. */
  readonly visibleAfter: Lsn | undefined;
  /** Gone at checkpoints strictly above. */
  readonly droppedAfter: Lsn | undefined;
}

export type SchemaMessage = Extract<ServerMessage, { type: 'schema' }>;
export type SourceMessage = Extract<ServerMessage, { type: 'source' }>;

/** A project at one checkpoint. Immutable: a step that holds one cannot mix two (L12). */
export interface Served {
  readonly project: ProjectId;
  readonly checkpoint: Checkpoint;
  /** All generations of the checkpoint's epoch, for looking at earlier checkpoints. */
  readonly generations: readonly ServedStream[];
  /** Those visible at the checkpoint; the same array as long as the set stays the same. */
  readonly streams: readonly ServedStream[];
  readonly schema: SchemaMessage;
}

/** What one wake-up says: everything that changed in (after, lsn]. */
export interface Step {
  readonly after: Lsn;
  readonly lsn: Lsn;
  readonly buckets: ReadonlySet<BucketId>;
  readonly lookups: ReadonlySet<LookupId>;
  readonly truncated: ReadonlySet<StreamNo>;
}

export function isVisibleAt(stream: ServedStream, lsn: Lsn): boolean {
  if (stream.visibleAfter === undefined || lsn <= stream.visibleAfter) return false;
  return stream.droppedAfter === undefined || lsn <= stream.droppedAfter;
}

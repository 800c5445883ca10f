import type { BucketStore, StreamRecord } from '@sluice/bucket-store';
import type { Epoch, Position, ProjectId } from '@sluice/domain';
import { createFrameEvaluator, type FrameEvaluator } from './evaluate-frame.ts';

/** What the worker knows of an epoch that it applies frames of; a copy of the store's, which has the last word. */
export interface EpochState {
  readonly epoch: Epoch;
  /** How far the shard is applied. */
  applied: Position;
  readonly held: boolean;
  readonly mapVersion: number;
  /** Shards among which the epoch's rows are divided. */
  readonly shards: number;
  readonly evaluator: FrameEvaluator;
  /** The streams in use, and how far they are copied. */
  readonly streamsKey: string;
}

/**
 * Reads the epoch from the store; undefined when it is neither served nor built any more. The evaluator is kept while
 * the streams are the same, and as far, with what it remembers.
 */
export async function loadEpoch(
  store: BucketStore,
  project: ProjectId,
  of: { readonly epoch: Epoch; readonly shard: number; readonly known: EpochState | undefined },
): Promise<EpochState | undefined> {
  const source = await store.readSource(project);
  const record = [source?.serving, source?.building].find((candidate) => candidate?.epoch === of.epoch);
  const shard = record?.shards.find((candidate) => candidate.shard === of.shard);
  if (!record || !shard) return undefined;
  const streams = inUse(await store.readStreams(project), of.epoch);
  const streamsKey = streams
    .map(({ stream, backfillPoint, visibleAfter }) => `${stream} ${backfillPoint} ${visibleAfter === undefined}`)
    .join();
  return {
    epoch: of.epoch,
    applied: shard.applied,
    held: record.held,
    mapVersion: record.mapVersion,
    shards: record.shards.length,
    evaluator: of.known?.streamsKey === streamsKey ? of.known.evaluator : createFrameEvaluator(streams),
    streamsKey,
  };
}

function inUse(streams: readonly StreamRecord[], epoch: Epoch): StreamRecord[] {
  return streams.filter((stream) => stream.epoch === epoch && stream.droppedAfter === undefined);
}

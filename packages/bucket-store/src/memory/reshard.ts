import { barrierAt, comparePositions, type Epoch, type Lsn } from '@sluice/domain';
import { assert } from '@sluice/errors';
import { rowKeysWith } from '../plan-tables.ts';
import { liveEpoch } from './generations.ts';
import type { ProjectState } from './project-state.ts';

/** As the Postgres adapter's. */
export function reshard(
  project: ProjectState,
  change: { readonly epoch: Epoch; readonly shards: number; readonly at: Lsn },
): number {
  const epoch = liveEpoch(project, change.epoch);
  const streams = [...project.streams.values()].filter(
    (stream) => stream.epoch === change.epoch && stream.droppedAfter === undefined,
  );
  assert(
    streams.every((stream) => stream.visibleAfter !== undefined),
    'a shard map changes only while nothing is copied',
  );
  const barrier = barrierAt(change.at);
  const isAt = epoch.shards.every((shard) => comparePositions(shard.applied, barrier) === 0);
  assert(isAt && change.shards > 0, 'a shard map changes only at a barrier that all shards have applied (L4)');
  epoch.shards.length = Math.min(epoch.shards.length, change.shards);
  const [first] = epoch.shards;
  assert(first, 'an epoch has a shard');
  for (let shard = epoch.shards.length; shard < change.shards; shard++)
    epoch.shards.push({ ...first, shard, rowStatesRevision: 0n });
  for (const shard of epoch.shards) shard.barriers = [];
  epoch.level = { lsn: change.at, committedAtMs: first.barrierCommittedAtMs };
  epoch.rowKeys = rowKeysWith(
    {},
    streams.map(({ plan }) => plan),
  );
  epoch.mapVersion++;
  return epoch.mapVersion;
}

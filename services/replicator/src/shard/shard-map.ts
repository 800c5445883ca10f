import type { EpochRecord } from '@sluice/bucket-store';

/**
 * Which rows are whose: a row belongs to the shard that the hash of its row key names (L6). A stretch of the stream that comes
 * again must be divided as before, since shards are applied to different positions; so the map is kept with the epoch, and is
 * changed at a barrier that all shards have applied, under a new version (L4).
 */
export interface ShardMap {
  readonly version: number;
  readonly shards: number;
  /** Names of the row key's columns by `schema.table`. Rows of other tables belong to shard 0. */
  readonly rowKeys: Readonly<Record<string, readonly string[]>>;
}

export function shardMapOf(epoch: EpochRecord): ShardMap {
  return { version: epoch.mapVersion, shards: epoch.shards.length, rowKeys: epoch.rowKeys };
}

import type { ProjectId } from '@sluice/domain';

/**
 * What stands in Redis. The part in braces is a hash tag: in a Redis Cluster all keys of one shard live in one slot, so
 * that a script may touch them together.
 */
export interface ShardKeys {
  /** A stream; each entry is a frame. */
  readonly frames: string;
  /** Bytes of `changes` in the entries of `frames`. */
  readonly bytes: string;
}

export function shardKeys(project: ProjectId, shard: number): ShardKeys {
  const prefix = `sluice:{${project}:${shard}}`;
  return { frames: `${prefix}:frames`, bytes: `${prefix}:bytes` };
}

/** The numbers of a project's shards that may hold frames, for clearing what other processes published. */
export function shardsKey(project: ProjectId): string {
  return `sluice:{${project}}:shards`;
}

/** One channel a project; the pattern covers all of them. */
export function wakeUpChannel(project: ProjectId): string {
  return `sluice:{${project}}:wake-ups`;
}
export const ALL_WAKE_UP_CHANNELS = 'sluice:{*}:wake-ups';

/** The consumer's name is fixed: whoever comes after a crash finds what that one had taken. */
export const GROUP = 'workers';
export const CONSUMER = 'worker';

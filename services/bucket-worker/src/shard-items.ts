import type { BucketStore } from '@sluice/bucket-store';
import { type ProjectId, parseProjectId } from '@sluice/domain';
import { assert } from '@sluice/errors';

/** One shard of one project, as members tell each other of it. */
export function formatShardItem(project: ProjectId, shard: number): string {
  return `${project}:${shard}`;
}

/** @throws InvariantError for what `formatShardItem` never wrote */
export function parseShardItem(item: string): { readonly project: ProjectId; readonly shard: number } {
  const match = /^([1-9]\d*):(\d{1,6})$/.exec(item);
  assert(match, 'an item is a project and a shard');
  return { project: parseProjectId(Number(match[1])), shard: Number(match[2]) };
}

/** The shards of the projects: those of the epoch that serves and of the one being built; the first before there are any. */
export async function shardItems(store: BucketStore, projects: readonly ProjectId[]): Promise<string[]> {
  const items: string[] = [];
  for (const project of projects) {
    const source = await store.readSource(project);
    const epochs = [source?.serving, source?.building];
    const shards = new Set(epochs.flatMap((epoch) => epoch?.shards.map(({ shard }) => shard) ?? []));
    // The epoch of a first deploy is opened a moment before its first frame: somebody already waits for that.
    if (shards.size === 0) shards.add(0);
    for (const shard of shards) items.push(formatShardItem(project, shard));
  }
  return items;
}

import type { BucketStore } from '@sluice/bucket-store';
import type { Epoch, Lsn, ProjectId } from '@sluice/domain';

/**
 * What must be applied before streams whose copy is complete may be shown (L10): everything up to the copy's point, and up to
 * whatever any shard had applied by now, since rows of the copy may have been left out for newer ones.
 */
export async function settledAt(store: BucketStore, project: ProjectId, epoch: Epoch, point: Lsn): Promise<Lsn> {
  const source = await store.readSource(project);
  const shards = [source?.serving, source?.building].find((record) => record?.epoch === epoch)?.shards ?? [];
  return shards.reduce<Lsn>((lsn, { applied }) => (applied.lsn > lsn ? applied.lsn : lsn), point);
}

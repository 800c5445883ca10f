import type { BucketStore } from '@sluice/bucket-store';
import type { ProjectId } from '@sluice/domain';

const ROWS_PER_STEP = 5000;

/** Erases dropped streams and retired epochs, a short transaction a step; whichever process does it, the store is exact. */
export async function* eraseDropped(store: BucketStore, project: ProjectId): AsyncGenerator<void> {
  while (!(await store.eraseDropped(project, ROWS_PER_STEP))) yield;
}

import { waitForLease } from '@sluice/bucket-store';
import type { ProjectId } from '@sluice/domain';
import type { Dependencies } from './dependencies.ts';
import { dropLeftovers } from './epoch-start.ts';
import { ConditionWriter } from './progress/condition-writer.ts';
import { openSession } from './source/connection.ts';

/**
 * Drops what the project has on its source: slots first, which keep WAL, then publications. Succeeds when they are gone
 * already. The caller has stopped following the source for good. @throws AppError when the source cannot be reached
 */
export async function releaseSource(
  dependencies: Dependencies,
  project: ProjectId,
  holder: string,
  signal: AbortSignal,
): Promise<void> {
  const { store, clock, tuning, sourceOf } = dependencies;
  const lease = await waitForLease({ store, project, clock, holder, ttlMs: tuning.leaseTtlMs }, signal);
  if (!lease) return;
  try {
    await using session = await openSession(await sourceOf(project));
    const condition = new ConditionWriter({ store, clock, project, token: lease.token });
    await dropLeftovers(
      { dependencies, project, token: lease.token, condition },
      session,
      await store.readSource(project),
    );
  } finally {
    await lease.release();
  }
}

import type { BucketStore } from '@sluice/bucket-store';
import { AppError } from '@sluice/errors';
import type { Frame } from '@sluice/op-queue';

/**
 * Records why the project stopped, so that clients and the console can tell (L17). Somebody else may hold the project by
 * now, or the store be gone: then that is the state to know about, and this one goes untold but for the log.
 */
export async function stopProject(store: BucketStore, frame: Frame, error: unknown): Promise<void> {
  const code = error instanceof AppError ? error.code : 'WORKER_STOPPED';
  const details = error instanceof AppError ? plainDetails(error) : {};
  const condition = { state: 'stopped' as const, code, details, rowsDone: 0, rowsEstimate: 0 };
  await store.setSourceState(frame.project, frame.leaseToken, condition).catch(() => {});
}

function plainDetails(error: AppError): Record<string, string | number> {
  const entries = Object.entries(error.details);
  return Object.fromEntries(
    entries.filter(
      (entry): entry is [string, string | number] => typeof entry[1] === 'string' || typeof entry[1] === 'number',
    ),
  );
}

import type { ProjectId } from '@sluice/domain';
import { AppError } from '@sluice/errors';
import type { Prisma } from '../generated/client.ts';

/**
 * Locks the project's row until the transaction ends, so that what a project owns changes one request at a time.
 * @throws AppError PROJECT_NOT_FOUND when it is missing or deleted, PROJECT_DELETING while it is being deleted
 */
export async function lockActiveProject(tx: Prisma.TransactionClient, projectId: ProjectId): Promise<void> {
  const state = await lockProject(tx, projectId);
  if (state === 'deleting') throw new AppError('PROJECT_DELETING');
}

/** As lockActiveProject, for a project that may be on its way out; answers its state. */
export async function lockProject(tx: Prisma.TransactionClient, projectId: ProjectId): Promise<'active' | 'deleting'> {
  const [row] = await tx.$queryRaw<{ state: string }[]>`
    SELECT state::text AS state FROM project WHERE id = ${projectId} FOR UPDATE`;
  if (row?.state !== 'active' && row?.state !== 'deleting') throw new AppError('PROJECT_NOT_FOUND');
  return row.state;
}

import type { Database, ProjectRecord } from '@sluice/database';
import { AppError } from '@sluice/errors';

/**
 * The project that a path names. There is one operator and no tenants' principals yet: this is where a principal's
 * right to a project will be asked, with the same answer for a project that is missing and one that is another's.
 * @throws AppError PROJECT_NOT_FOUND
 */
export async function projectOfRequest(database: Database, ref: string): Promise<ProjectRecord> {
  if (!/^p[a-z0-9]{19}$/.test(ref)) throw new AppError('PROJECT_NOT_FOUND');
  return await database.projects.byRef(ref);
}

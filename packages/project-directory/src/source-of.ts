import type { ProjectId } from '@sluice/domain';
import type { SourceConnection } from '@sluice/source-connection';
import type { ProjectDirectory } from './project-directory.ts';

/** How a project's source is reached, its password decrypted. @throws AppError SOURCE_NOT_SET, SECRET_UNREADABLE */
export async function sourceOf(directory: ProjectDirectory, project: ProjectId): Promise<SourceConnection> {
  const { host, port, database, user, password, tlsMode, tlsCa } = await directory.sourceConnectionOf(project);
  return {
    host,
    port,
    database,
    user,
    password,
    tls: tlsMode === 'disable' ? { kind: 'off' } : { kind: 'verify-full', ca: tlsCa },
  };
}

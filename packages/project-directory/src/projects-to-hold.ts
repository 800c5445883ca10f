import type { ProjectId } from '@sluice/domain';
import type { ProjectDirectory } from './project-directory.ts';

/** The projects that somebody must replicate: those with a source, and with rules in force or on their way. */
export async function projectsToHold(directory: ProjectDirectory): Promise<ProjectId[]> {
  const projects = await directory.listProjects();
  const wanted = projects.filter(({ state, source, activeRulesVersion, isDeploying }) => {
    const hasRules = activeRulesVersion !== undefined || isDeploying;
    return state === 'active' && source !== undefined && hasRules;
  });
  return wanted.map(({ projectId }) => projectId);
}

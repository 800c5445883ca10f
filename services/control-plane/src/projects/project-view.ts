import type { ProjectOverview } from '@sluice/database';
import type { z } from 'zod';
import { viewOfProblem } from '../http/problem.ts';
import { viewOfJob } from '../jobs/job-view.ts';
import type { projectSchema } from './project-dto.ts';
import { statusOfProject } from './project-status.ts';

export function viewOfProject(project: ProjectOverview): z.infer<typeof projectSchema> {
  const { ref, name, createdAt, source, activeRulesVersion, latestJob } = project;
  return {
    ref,
    name,
    status: statusOfProject(project).status,
    createdAt: createdAt.toISOString(),
    source: source ? { state: source.state, problem: viewOfProblem(source.problem) } : null,
    activeRulesVersion: activeRulesVersion ?? null,
    latestJob: latestJob ? viewOfJob(latestJob) : null,
  };
}

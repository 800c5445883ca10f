import type { ProjectOverview } from '@sluice/database';
import { z } from 'zod';
import { type StoredProblem, storedProblemSchema, viewOfProblem } from '../http/problem.ts';

/**
 * One word for how a project is doing, and every reason that it is not better. `setting-up`: something is still to be
 * done by its team; `provisioning`: a job is at work; `live`: clients are served; `failing`: see the problems.
 */
export const projectStatusSchema = z.enum(['setting-up', 'provisioning', 'live', 'failing', 'deleting']);

export const statusReportSchema = z
  .strictObject({
    status: projectStatusSchema,
    missing: z.array(z.enum(['source', 'client-auth', 'rules'])).describe('What the team has still to set.'),
    problems: z.array(storedProblemSchema),
  })
  .meta({ id: 'ProjectStatus', examples: [{ status: 'live', missing: [], problems: [] }] });
export type StatusReport = z.infer<typeof statusReportSchema>;

export function statusOfProject(project: ProjectOverview): StatusReport {
  const missing = missingOf(project);
  const problems = problemsOf(project);
  const jobState = project.latestJob?.state;
  const report = (status: StatusReport['status']): StatusReport => ({ status, missing, problems });
  if (project.state === 'deleting') return report('deleting');
  if (jobState === 'queued' || jobState === 'running') return report('provisioning');
  if (problems.length > 0) return report('failing');
  return report(missing.length > 0 ? 'setting-up' : 'live');
}

function missingOf({ source, hasClientAuth, activeRulesVersion }: ProjectOverview): StatusReport['missing'] {
  const missing: StatusReport['missing'] = [];
  if (!source) missing.push('source');
  if (!hasClientAuth) missing.push('client-auth');
  if (activeRulesVersion === undefined) missing.push('rules');
  return missing;
}

/** The source's and the job's or its step's, once when both say the same. */
function problemsOf({ latestJob, source }: ProjectOverview): StoredProblem[] {
  const step = latestJob?.steps.find((candidate) => candidate.problem)?.problem;
  const problems = [source?.problem, latestJob?.problem ?? step].flatMap((problem) => viewOfProblem(problem) ?? []);
  return problems.filter((problem, at) => problems.findIndex(({ code }) => code === problem.code) === at);
}

import type { Project } from '@sluice/api-client';
import { StatusPill } from '../../ui/status-pill.tsx';
import { ProvisioningSteps } from './provisioning-steps.tsx';

export function ProjectCard({ project }: { readonly project: Project }) {
  const { name, ref, status, source, activeRulesVersion, latestJob } = project;
  const problem = source?.problem ?? latestJob?.problem;
  const isProvisioning = latestJob !== null && latestJob.state !== 'succeeded';
  return (
    <article className="rounded-xl border border-water-400/25 bg-white px-5 py-4 shadow-xs dark:bg-deep-900">
      <div className="flex flex-wrap items-center justify-between gap-3">
        <div className="min-w-0">
          <h2 className="truncate font-medium">{name}</h2>
          <p className="truncate font-mono text-xs opacity-60">{ref}</p>
        </div>
        <StatusPill status={status} />
      </div>
      <dl className="mt-3 flex flex-wrap gap-x-8 gap-y-1 text-sm">
        <Fact label="source">{source ? source.state : 'not set'}</Fact>
        <Fact label="rules">{activeRulesVersion === null ? 'none in force' : `version ${activeRulesVersion}`}</Fact>
      </dl>
      {isProvisioning && <ProvisioningSteps job={latestJob} />}
      {problem && (
        <div className="mt-4 rounded-lg bg-rose-500/10 px-4 py-3 text-sm">
          <p className="font-medium">
            {problem.message} <span className="font-mono text-xs opacity-60">{problem.code}</span>
          </p>
          <p className="mt-1 opacity-80">{problem.remedy}</p>
        </div>
      )}
    </article>
  );
}

function Fact({ label, children }: { readonly label: string; readonly children: string }) {
  return (
    <div className="flex gap-2">
      <dt className="opacity-60">{label}</dt>
      <dd>{children}</dd>
    </div>
  );
}

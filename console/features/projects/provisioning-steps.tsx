import type { ProvisioningJob, ProvisioningStep } from '@sluice/api-client';

const LOOK: Readonly<Record<ProvisioningStep['state'], string>> = {
  pending: 'bg-slate-500/25',
  running: 'bg-water-400 animate-pulse',
  succeeded: 'bg-emerald-500',
  failed: 'bg-rose-500',
};

/** The steps of a job side by side, with how far the one at work has come. */
export function ProvisioningSteps({ job }: { readonly job: ProvisioningJob }) {
  return (
    <ol className="mt-4 grid grid-cols-3 gap-2 sm:grid-cols-6" aria-label={`Steps of the ${job.kind}`}>
      {job.steps.map((step) => (
        <li key={step.name}>
          <div className="h-1.5 overflow-hidden rounded-full bg-slate-500/15">
            <div className={`h-full ${LOOK[step.state]}`} style={{ width: `${percentOf(step)}%` }} />
          </div>
          <p className="mt-1 truncate text-xs">
            {step.name} <span className="opacity-60">{progressOf(step)}</span>
          </p>
        </li>
      ))}
    </ol>
  );
}

function percentOf({ state, done, estimate }: ProvisioningStep): number {
  if (state !== 'running' || !estimate) return state === 'pending' ? 0 : 100;
  return Math.min(100, Math.round((done / estimate) * 100));
}

/** Short: six of these stand side by side. */
function progressOf(step: ProvisioningStep): string {
  if (step.state !== 'running' || step.done === 0) return '';
  return step.estimate ? `${percentOf(step)}%` : new Intl.NumberFormat('en', { notation: 'compact' }).format(step.done);
}

import type { Project } from '@sluice/api-client';

type Status = Project['status'];

const LOOK: Readonly<Record<Status, string>> = {
  live: 'bg-emerald-500/15 text-emerald-700 dark:text-emerald-300',
  provisioning: 'bg-water-400/20 text-water-700 dark:text-water-400',
  'setting-up': 'bg-slate-500/15 text-slate-700 dark:text-slate-300',
  failing: 'bg-rose-500/15 text-rose-700 dark:text-rose-300',
  deleting: 'bg-amber-500/15 text-amber-700 dark:text-amber-300',
};

/** The API's own word for how a project is doing. */
export function StatusPill({ status }: { readonly status: Status }) {
  return (
    <span className={`inline-flex items-center gap-1.5 rounded-full px-2.5 py-1 font-medium text-xs ${LOOK[status]}`}>
      <span className={`size-1.5 rounded-full bg-current ${status === 'provisioning' ? 'animate-pulse' : ''}`} />
      {status}
    </span>
  );
}

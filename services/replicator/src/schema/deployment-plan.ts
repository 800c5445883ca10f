import type { StreamRecord } from '@sluice/bucket-store';
import type { StreamPlan } from '@sluice/sync-rules';

/** What turns the streams in use into the wanted ones (L11). */
export interface DeploymentPlan {
  /** Of equal content: their buckets, and what clients hold of them, stay as they are. */
  readonly kept: readonly StreamRecord[];
  readonly added: readonly StreamPlan[];
  readonly dropped: readonly StreamRecord[];
}

/** @param streams the visible generations of the serving epoch */
export function planDeployment(streams: readonly StreamRecord[], wanted: readonly StreamPlan[]): DeploymentPlan {
  const byContent = new Map(streams.map((stream) => [contentOf(stream), stream]));
  const kept = wanted.flatMap((plan) => byContent.get(contentOf(plan)) ?? []);
  return {
    kept,
    added: wanted.filter((plan) => !byContent.has(contentOf(plan))),
    dropped: streams.filter((stream) => !kept.includes(stream)),
  };
}

function contentOf({ name, contentHash }: { readonly name: string; readonly contentHash: string }): string {
  return `${contentHash} ${name}`;
}

import type { StreamRecord } from '@sluice/bucket-store';
import type { StreamPlan } from '@sluice/sync-rules';
import { planOf } from './plan-tables.ts';

/** What turns the streams in use into the wanted ones (L11). */
export interface DeploymentPlan {
  /** Of equal content: their buckets, and what clients hold of them, stay as they are. */
  readonly kept: readonly StreamRecord[];
  readonly added: readonly StreamPlan[];
  readonly dropped: readonly StreamRecord[];
}

/**
 * @param streams the visible generations of the serving epoch
 * @param mustCopy says of a stream that its copy is void, though its content would be the same
 */
export function planDeployment(
  streams: readonly StreamRecord[],
  wanted: readonly StreamPlan[],
  mustCopy: (plan: StreamPlan) => boolean = () => false,
): DeploymentPlan {
  const valid = streams.filter((stream) => !mustCopy(planOf(stream)));
  const byContent = new Map(valid.map((stream) => [contentOf(stream), stream]));
  const kept = wanted.flatMap((plan) => byContent.get(contentOf(plan)) ?? []);
  return {
    kept,
    added: wanted.filter((plan) => !byContent.has(contentOf(plan))),
    dropped: streams.filter((stream) => !kept.includes(stream)),
  };
}

/** Equal for streams that hold the same: their copies can stand for each other. */
export function contentOf({ name, contentHash }: { readonly name: string; readonly contentHash: string }): string {
  return `${contentHash} ${name}`;
}

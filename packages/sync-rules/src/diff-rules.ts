import type { CompiledRules, SourceTable, StreamPlan } from './plan.ts';

export interface RulesDiff {
  /** In `next` alone: each is a new generation to be back-filled. */
  readonly added: readonly StreamPlan[];
  /** Of equal content: their buckets, and what clients hold of them, stay as they are. */
  readonly kept: readonly StreamPlan[];
  /** In `old` alone. */
  readonly dropped: readonly StreamPlan[];
}

/** What a deploy does, stream by stream (L11). A stream whose content changed is both dropped and added. */
export function diffRules(old: CompiledRules, next: CompiledRules): RulesDiff {
  const oldHashes = new Set(old.streams.map(({ contentHash }) => contentHash));
  const nextHashes = new Set(next.streams.map(({ contentHash }) => contentHash));
  return {
    added: next.streams.filter(({ contentHash }) => !oldHashes.has(contentHash)),
    kept: next.streams.filter(({ contentHash }) => oldHashes.has(contentHash)),
    dropped: old.streams.filter(({ contentHash }) => !nextHashes.has(contentHash)),
  };
}

export interface RelevantStreams {
  /** Streams whose rows are the table's. */
  readonly rows: readonly StreamPlan[];
  /** Memberships that read the table. */
  readonly memberships: readonly { readonly plan: StreamPlan; readonly membership: number }[];
}

/** What a change of one table can touch. */
export function relevantStreams(streams: readonly StreamPlan[], table: SourceTable): RelevantStreams {
  const isTable = (other: SourceTable) => other.schema === table.schema && other.name === table.name;
  return {
    rows: streams.filter(({ sourceTable }) => isTable(sourceTable)),
    memberships: streams.flatMap((plan) =>
      plan.memberships.flatMap((member, membership) => (isTable(member.table) ? [{ plan, membership }] : [])),
    ),
  };
}

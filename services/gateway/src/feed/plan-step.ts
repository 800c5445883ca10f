import type { BucketId, StreamNo } from '@sluice/domain';

export type Buckets = ReadonlyMap<BucketId, StreamNo>;

export interface StepInput {
  /** What the client holds and was entitled to at its checkpoint. */
  readonly held: Buckets;
  /** Other buckets that the client says it holds: it must let go of them unless they come anew. */
  readonly unproven: ReadonlySet<BucketId>;
  /** What its claims give at the new checkpoint. */
  readonly wanted: Buckets;
  /** Buckets whose grant may have ended and begun again in between. */
  readonly broken: ReadonlySet<BucketId>;
  readonly truncated: ReadonlySet<StreamNo>;
  /** Buckets that changed in between, or undefined when any may have. */
  readonly changed: ReadonlySet<BucketId> | undefined;
}
export interface StepPlan {
  readonly drop: readonly BucketId[];
  readonly replace: readonly BucketId[];
  readonly extend: readonly BucketId[];
}

/**
 * The diff of one checkpoint (L12, L13). Only a bucket that was held all along, under an unbroken grant, is extended by
 * the chunks in between; whatever else is wanted comes as it stands at the checkpoint.
 */
export function planStep(input: StepInput): StepPlan {
  const { held, unproven, wanted, broken, truncated, changed } = input;
  // The usual case, and worth being fast: nothing but rows changed.
  if (wanted === held && changed && truncated.size === 0 && broken.size === 0 && unproven.size === 0)
    return { drop: [], replace: [], extend: [...changed].filter((bucket) => held.has(bucket)) };
  const drop: BucketId[] = [];
  const replace: BucketId[] = [];
  const extend: BucketId[] = [];
  for (const bucket of [...held.keys(), ...unproven]) if (!wanted.has(bucket)) drop.push(bucket);
  for (const [bucket, stream] of wanted) {
    if (!held.has(bucket) || broken.has(bucket) || truncated.has(stream)) replace.push(bucket);
    else if (!changed || changed.has(bucket)) extend.push(bucket);
  }
  return { drop, replace, extend };
}

import { AppError } from '@sluice/errors';
import { LIMITS } from './limits.ts';
import { pieceFromClaim } from './param-key.ts';
import type {
  BucketParam,
  BucketPlan,
  ClaimConstant,
  ClaimFilter,
  ClaimRef,
  MembershipPlan,
  StreamPlan,
} from './plan.ts';

/** One parameter of a disjunct for one session: its bytes in the bucket key, or where to look them up. */
export type ResolvedParam =
  | { readonly kind: 'value'; readonly piece: string }
  | { readonly kind: 'lookup'; readonly membership: number; readonly lookupKey: string };

export interface ResolvedDisjunct {
  readonly disjunct: number;
  /** In the plan's order; the bucket key is the concatenation of their pieces. */
  readonly params: readonly ResolvedParam[];
}

export interface ResolvedClaims {
  /** Only those that the token can satisfy: a missing claim or a failed claim filter leaves a disjunct out (L13). */
  readonly disjuncts: readonly ResolvedDisjunct[];
}

/** Evaluates the token's side of a stream. Depends on nothing else, so it holds for the whole life of the token. */
export function resolveClaims(plan: StreamPlan, tokenClaims: unknown): ResolvedClaims {
  const disjuncts: ResolvedDisjunct[] = [];
  plan.buckets.forEach((bucket, disjunct) => {
    const params = resolveDisjunct(plan, bucket, tokenClaims);
    if (params) disjuncts.push({ disjunct, params });
  });
  return { disjuncts };
}

function resolveDisjunct(plan: StreamPlan, bucket: BucketPlan, tokenClaims: unknown): ResolvedParam[] | undefined {
  if (!bucket.claimFilters.every((filter) => isSatisfied(filter, tokenClaims))) return undefined;
  const params: ResolvedParam[] = [];
  for (const param of bucket.params) {
    const resolved = resolveParam(plan, param, tokenClaims);
    if (!resolved) return undefined;
    params.push(resolved);
  }
  return params;
}

function resolveParam(plan: StreamPlan, { type, from }: BucketParam, tokenClaims: unknown): ResolvedParam | undefined {
  if (from.kind === 'claim') {
    const piece = pieceFromClaim(type, claimValueOf(from.claim, tokenClaims));
    return piece === undefined ? undefined : { kind: 'value', piece };
  }
  const { membership } = from;
  const member = plan.memberships[membership];
  const lookupKey = member && lookupKeyOf(member, tokenClaims);
  return lookupKey === undefined ? undefined : { kind: 'lookup', membership, lookupKey };
}

function lookupKeyOf(membership: MembershipPlan, tokenClaims: unknown): string | undefined {
  if (!membership.claimFilters.every((filter) => isSatisfied(filter, tokenClaims))) return undefined;
  const pieces: string[] = [];
  for (const { type, claim } of membership.lookup) {
    const piece = pieceFromClaim(type, claimValueOf(claim, tokenClaims));
    if (piece === undefined) return undefined;
    pieces.push(piece);
  }
  return pieces.join('');
}

/** Undefined when the token has none. Own keys of plain objects only: a token cannot reach into prototypes or arrays. */
export function claimValueOf({ path }: ClaimRef, tokenClaims: unknown): unknown {
  let value = tokenClaims;
  for (const key of path) {
    if (typeof value !== 'object' || value === null || Array.isArray(value) || !Object.hasOwn(value, key)) {
      return undefined;
    }
    value = (value as Readonly<Record<string, unknown>>)[key];
  }
  return value;
}

/** Whether a token meets a condition on it alone. */
export function isSatisfied(filter: ClaimFilter, tokenClaims: unknown): boolean {
  const value = claimValueOf(filter.claim, tokenClaims);
  switch (filter.kind) {
    case 'claim-equals':
      return isComparable(value, filter.value) && value === filter.value;
    case 'claim-not-equals':
      return isComparable(value, filter.value) && value !== filter.value;
    case 'claim-one-of':
      return filter.values.some((constant) => isComparable(value, constant) && value === constant);
  }
}

/** A number outside the safe integers was rounded when its JSON was parsed, so it cannot be compared. */
function isComparable(value: unknown, constant: ClaimConstant): boolean {
  return typeof value === typeof constant && (typeof value !== 'number' || Math.abs(value) <= Number.MAX_SAFE_INTEGER);
}

export interface BucketKey {
  readonly disjunct: number;
  readonly key: string;
}

/** Values of a membership for a lookup key, as of the checkpoint that the caller reads. */
export type LookupValues = (membership: number, lookupKey: string) => readonly string[];

/**
 * The buckets of a stream that a session is entitled to: for each disjunct every combination of its parameters' values.
 * @throws AppError TOO_MANY_BUCKETS before more than `maxBuckets` combinations are built
 */
export function bucketKeysFrom(
  resolved: ResolvedClaims,
  lookupValues: LookupValues,
  maxBuckets: number = LIMITS.bucketsPerSessionMax,
): readonly BucketKey[] {
  const found: BucketKey[] = [];
  for (const { disjunct, params } of resolved.disjuncts) {
    const choices = params.map((param) => piecesOf(param, lookupValues));
    const count = choices.reduce((product, pieces) => product * pieces.length, 1);
    if (found.length + count > maxBuckets) throw new AppError('TOO_MANY_BUCKETS', { details: { max: maxBuckets } });
    for (const key of combinationsOf(choices)) found.push({ disjunct, key });
  }
  return found;
}

function piecesOf(param: ResolvedParam, lookupValues: LookupValues): readonly string[] {
  if (param.kind === 'value') return [param.piece];
  return [...new Set(lookupValues(param.membership, param.lookupKey))];
}

/** Pieces delimit themselves, so different combinations never give one key. */
function combinationsOf(choices: readonly (readonly string[])[]): readonly string[] {
  let keys: readonly string[] = [''];
  for (const pieces of choices) keys = keys.flatMap((key) => pieces.map((piece) => key + piece));
  return keys;
}

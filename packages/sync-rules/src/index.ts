export { type BoundMembership, bindMembership, type MembershipEntry } from './bind-membership.ts';
export { type BoundStream, bindRow } from './bind-row.ts';
export { diffRules, type RelevantStreams, type RulesDiff, relevantStreams } from './diff-rules.ts';
export { LIMITS as RULES_LIMITS } from './limits.ts';
export { type CompileResult, parseAndCompile } from './parse-and-compile.ts';
export * from './plan.ts';
export type { Condition, ConditionMembership } from './preview/conditions.ts';
export {
  alternativesOf,
  countStatement,
  explainStatement,
  membershipStatement,
  type RowExplanation,
  rowsStatement,
  type SourceStatement,
} from './preview/statements.ts';
export {
  type BucketKey,
  bucketKeysFrom,
  type LookupValues,
  type ResolvedClaims,
  type ResolvedDisjunct,
  type ResolvedParam,
  resolveClaims,
} from './resolve-claims.ts';
export { canTellOldRows, type IdentityLike, keepsRowStates, type RowIdentity, rowIdentityOf } from './row-identity.ts';
export type { RelationLike, RelationMismatch, TupleSlotsLike } from './tuple.ts';
export { WRITES_TABLES_SQL } from './writes-tables.ts';

import type { Json, RulesRecord } from '@sluice/database';
import { assert } from '@sluice/errors';
import type { CompiledRules } from '@sluice/sync-rules';

/** A plan is plain data by contract, so it is its own JSON. */
export function jsonFromPlan(compiled: CompiledRules): Json {
  return compiled as unknown as Json;
}

/** The plan of an edition that is no draft; only `jsonFromPlan` writes that column. */
export function planOf(rules: Pick<RulesRecord, 'plan'>): CompiledRules {
  assert(rules.plan !== undefined, 'rules beyond a draft have a plan');
  return rules.plan as unknown as CompiledRules;
}

import type { FaultName } from './catalogue.ts';

/** Histories that once failed, each with what was wrong. `npm test` runs all of them. */
export const KEPT_SEEDS: readonly { readonly seed: number; readonly fault: FaultName; readonly was: string }[] = [];

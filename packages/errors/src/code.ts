/** Who can put it right: the tenant's team, the end user's app, the platform's operators, or nobody (it heals). */
export type Remedier = 'tenant' | 'app' | 'operator' | 'nobody';
/** Decided once, here: `retry` backs off and tries again, `wait` needs a person first, `give-up` ends that unit of work. */
export type RetryPolicy = 'retry' | 'wait' | 'give-up';

export interface CodeDefinition {
  /** What happened, safe for any tenant; no values, names of hosts or SQL. */
  readonly what: string;
  readonly who: Remedier;
  /** How to put it right; `{name}` places are filled from the error's details. */
  readonly how: string;
  readonly retry: RetryPolicy;
  /** HTTP status when an API answers with it. */
  readonly status?: number;
  /** WebSocket close code when the gateway ends a session with it. */
  readonly close?: number;
}

/** Checks the shape and keeps the literal keys. */
export function defineCodes<const T extends Record<string, CodeDefinition>>(codes: T): T {
  return codes;
}

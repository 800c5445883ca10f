import type { SourceTable, StreamPlan } from '@sluice/sync-rules';

/** The tables that the plans read, each once, in a stable order: what the publication must hold. */
export function tablesOfPlans(plans: readonly StreamPlan[]): SourceTable[] {
  const byKey = new Map<string, SourceTable>();
  for (const { sourceTable, memberships } of plans) {
    for (const { schema, name } of [sourceTable, ...memberships.map(({ table }) => table)]) {
      byKey.set(`${schema}\0${name}`, { schema, name });
    }
  }
  return [...byKey.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, table]) => table);
}
export function readsTable(plan: StreamPlan, table: SourceTable): boolean {
  return tablesOfPlans([plan]).some(({ schema, name }) => schema === table.schema && name === table.name);
}

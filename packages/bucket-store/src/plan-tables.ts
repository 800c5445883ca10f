/** `schema.table` of each table that a StreamPlan reads; the store knows nothing else of a plan. */
export function tablesOfPlan(plan: unknown): string[] {
  const tables = new Set<string>();
  const add = (table: unknown): void => {
    if (typeof table !== 'object' || table === null || !('schema' in table) || !('name' in table)) return;
    tables.add(`${String(table.schema)}.${String(table.name)}`);
  };
  if (typeof plan !== 'object' || plan === null) return [];
  if ('sourceTable' in plan) add(plan.sourceTable);
  if ('memberships' in plan && Array.isArray(plan.memberships))
    for (const membership of plan.memberships)
      if (typeof membership === 'object' && membership !== null && 'table' in membership) add(membership.table);
  return [...tables];
}

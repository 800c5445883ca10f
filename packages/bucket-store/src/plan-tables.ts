import type { RowKeys } from './port.ts';

/** `schema.table` of each table that a StreamPlan reads. */
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

/** The row keys of those tables, as the plan has them; the store knows nothing else of a plan. */
function rowKeysOfPlan(plan: unknown): [table: string, columns: string[]][] {
  const { sourceTable, table, memberships } = recordOf(plan);
  const columns = listOf(recordOf(table).columns).map((column) => recordOf(recordOf(column).source).name);
  const own = { table: sourceTable, names: columns.slice(0, Number(recordOf(table).keyColumns ?? 0)) };
  const others = listOf(memberships).map((membership) => ({
    table: recordOf(membership).table,
    names: listOf(recordOf(membership).key).map((column) => recordOf(column).name),
  }));
  return [own, ...others].flatMap(({ table: of, names }) => {
    const { schema, name } = recordOf(of);
    return typeof schema === 'string' && typeof name === 'string' ? [[`${schema}.${name}`, names.map(String)]] : [];
  });
}

/** The row keys of all tables that the plans read. What is known already, or said first, stands. */
export function rowKeysWith(known: RowKeys, plans: readonly unknown[]): RowKeys {
  const keys = new Map(Object.entries(known));
  for (const plan of plans)
    for (const [table, columns] of rowKeysOfPlan(plan)) if (!keys.has(table)) keys.set(table, columns);
  return Object.fromEntries(keys);
}

function recordOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}
function listOf(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

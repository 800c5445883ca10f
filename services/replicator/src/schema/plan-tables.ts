import type { StreamRecord } from '@sluice/bucket-store';
import type { SourceTable, StreamPlan } from '@sluice/sync-rules';

export function planOf(stream: Pick<StreamRecord, 'plan'>): StreamPlan {
  // Plans are written by the rules compiler and come back as they were stored.
  return stream.plan as StreamPlan;
}

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

/** Names of the columns that the plans read, by `schema.table`. */
export function columnsOfPlans(plans: readonly StreamPlan[]): Map<string, Set<string>> {
  const byTable = new Map<string, Set<string>>();
  const add = ({ schema, name }: SourceTable, columns: readonly { readonly name: string }[]): void => {
    const key = `${schema}.${name}`;
    const names = byTable.get(key) ?? new Set();
    for (const column of columns) names.add(column.name);
    byTable.set(key, names);
  };
  for (const plan of plans) {
    add(plan.sourceTable, [
      ...plan.table.columns.map(({ source }) => source),
      ...plan.buckets.flatMap(({ filters, params }) => [...filters, ...params].map(({ column }) => column)),
    ]);
    for (const { table, key, filters, lookup, output } of plan.memberships) {
      add(table, [...key, ...[...filters, ...lookup].map(({ column }) => column), output.column]);
    }
  }
  return byTable;
}

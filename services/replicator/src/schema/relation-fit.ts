import type { RelationMessage } from '@sluice/pgoutput';
import {
  bindMembership,
  bindRow,
  type Catalog,
  canTellOldRows,
  keepsRowStates,
  type RelationLike,
  relevantStreams,
  rowIdentityOf,
  type SourceTable,
  type StreamPlan,
} from '@sluice/sync-rules';

/** Whether plans can read rows of a table as it is described now. */
export interface RelationFit {
  readonly isUsed: boolean;
  /** Columns that a plan reads and that are missing or of another type; empty when all plans can read on. */
  readonly misfits: readonly string[];
}

/** Columns of the row key whose old values the plans need, and which the relation's replica identity does not tell (L7). */
export function untoldKeys(plans: readonly StreamPlan[], relation: RelationMessage): readonly string[] {
  const relevant = relevantStreams(plans, relation);
  const keys = [
    ...relevant.rows.map((plan) => ({ plan, key: keyOf(plan).map(({ source }) => source) })),
    ...relevant.memberships.map(({ plan, membership }) => ({ plan, key: plan.memberships[membership]?.key ?? [] })),
  ];
  const untold = keys.filter(({ plan, key }) => !canTellOldRows(keepsRowStates(plan, relation), key, relation));
  return [...new Set(untold.flatMap(({ key }) => key.map(({ name }) => name)))];
}

export function fitRelation(plans: readonly StreamPlan[], relation: RelationLike & SourceTable): RelationFit {
  const relevant = relevantStreams(plans, relation);
  const bound = [
    ...relevant.rows.map((plan) => bindRow(plan, relation)),
    ...relevant.memberships.map(({ plan, membership }) => bindMembership(plan, membership, relation)),
  ];
  const misfits = bound.flatMap((result) => (result.kind === 'mismatch' ? [...result.missing, ...result.changed] : []));
  return { isUsed: bound.length > 0, misfits: [...new Set(misfits)] };
}

/** The first table of the plans that the catalog does not have as they need it, or undefined. */
export function firstMisfit(plans: readonly StreamPlan[], catalog: Catalog): SourceTable | undefined {
  for (const plan of plans) {
    for (const wanted of [plan.sourceTable, ...plan.memberships.map(({ table }) => table)]) {
      const table = catalog.tables.find(({ schema, name }) => schema === wanted.schema && name === wanted.name);
      if (!table) return wanted;
      const columns = table.columns.filter((column) => !column.generated);
      if (fitRelation([plan], { ...wanted, columns }).misfits.length > 0) return wanted;
      if (wanted === plan.sourceTable && !isSameKey(plan, table.primaryKey)) return wanted;
      const identity = rowIdentityOf(table);
      if (identity !== 'full' && !(identity === 'key' && keepsRowStates(plan, wanted))) return wanted;
    }
  }
  return undefined;
}

function isSameKey(plan: StreamPlan, primaryKey: readonly string[]): boolean {
  const names = keyOf(plan).map(({ source }) => source.name);
  return names.length === primaryKey.length && names.every((name) => primaryKey.includes(name));
}

function keyOf({ table }: StreamPlan): StreamPlan['table']['columns'] {
  return table.columns.slice(0, table.keyColumns);
}

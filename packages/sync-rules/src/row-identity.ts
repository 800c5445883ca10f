import type { CatalogTable, SourceTable, StreamPlan } from './plan.ts';

/**
 * What updates and deletes of a table tell about the old row: all of it (REPLICA IDENTITY FULL), at least its row key, or
 * too little to know which row it was.
 */
export type RowIdentity = 'full' | 'key' | 'none';

export function rowIdentityOf(table: CatalogTable): RowIdentity {
  const { kind, replicaIdentity, primaryKey, identityKey } = table;
  if (replicaIdentity === 'full') return 'full';
  // Each partition has an identity of its own, of which the stream says nothing.
  if (kind === 'p') return 'none';
  if (replicaIdentity === 'nothing' || primaryKey.length === 0) return 'none';
  return primaryKey.every((name) => identityKey.includes(name)) ? 'key' : 'none';
}

/** Whether the stream keeps the state of the table's rows, so that their row keys are enough of the old ones (L7). */
export function keepsRowStates(plan: StreamPlan, table: SourceTable): boolean {
  return plan.rowStates?.includes(`${table.schema}.${table.name}`) ?? false;
}

/** A table as the replication stream describes it. */
export interface IdentityLike {
  /** 'd' default (primary key), 'n' nothing, 'f' full, 'i' an index. */
  readonly replicaIdentity: string;
  readonly columns: readonly { readonly name: string; readonly key: boolean }[];
}

/**
 * Whether the plan can tell the old row of every change to one of its tables as the stream describes it now; `key` names the
 * row key's columns, as the plan has it.
 */
export function canTellOldRows(
  keepsStates: boolean,
  key: readonly { readonly name: string }[],
  relation: IdentityLike,
): boolean {
  if (relation.replicaIdentity === 'f') return true;
  if (!keepsStates || relation.replicaIdentity === 'n') return false;
  return key.every(({ name }) => relation.columns.some((column) => column.key && column.name === name));
}
